"""Where a running ``serve`` is found by other commands of this machine: a small file in its data folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

_NAME = "running.json"


@contextlib.contextmanager
def announced(data_dir: Path, *, queue_url: str) -> Iterator[None]:
    """Write it while the block runs. After a kill it stays, and names a queue that does not answer."""
    file = data_dir / _NAME
    file.write_text(json.dumps({"queue_url": queue_url}))
    file.chmod(0o600)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def queue_url_of(data_dir: Path) -> str:
    """The queue of the service that works in a folder; ``""`` if none does."""
    try:
        return str(json.loads((data_dir / _NAME).read_text())["queue_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
