"""For every test: a run leaves no process behind; what one does to the logs is undone before the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests import reaper


def pytest_configure(config: pytest.Config) -> None:
    pipe = reaper.watch_over_this_run()
    config.add_cleanup(pipe.close)


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
