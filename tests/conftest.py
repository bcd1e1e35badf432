"""For every test: what one does to the logs of the process is undone before the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    level, disabled = root.level, root.manager.disable
    yield
    root.setLevel(level)
    logging.disable(disabled)
    for name, logger in root.manager.loggerDict.items():
        if name.startswith("fractureai") and isinstance(logger, logging.Logger):
            logger.disabled = False
