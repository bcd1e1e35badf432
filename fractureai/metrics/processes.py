"""How each kind of process is watched: where it counts, and what its exporter asks of it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fractureai.metrics.exporter import Checks, Exporter
from fractureai.metrics.shared import Meters


def worker_meters(role: str, folder: Path | None, *, index: Callable[[], int | None]) -> Meters:
    """The meters of a worker's main process and of the children it will fork.

    Parameters
    ----------
    folder:
        Shared with other processes of this machine; ``None`` for one that ends with this process.
    index:
        The number of the child that asks in its pool; ``None`` in the main process.
    """

    def place() -> str:
        number = index()
        return f"{role}-main" if number is None else f"{role}-{number}"

    return Meters(folder or _own_folder(), place)


def process_meters(name: str, folder: Path | None) -> Meters:
    """The meters of a process that forks nobody who counts."""
    return Meters(folder, lambda: f"{name}-{os.getpid()}")


class Pulse:
    """When something was last seen to go well.

    Parameters
    ----------
    patience_s:
        After that long without, it is not ``ok`` any more.
    """

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._last_s = clock()

    def beat(self) -> None:
        """It went well just now."""
        self._last_s = self._clock()

    def __call__(self) -> str:
        """``ok``, or ``silent``."""
        return "ok" if self._clock() - self._last_s < self._patience_s else "silent"


def export(
    meters: Meters, host: str, port: int, *, alive: Checks | None = None, ready: Checks | None = None
) -> Exporter | None:
    """Start the exporter of a process that shows its own counts; ``None`` if ``port`` is 0: it has none."""
    return Exporter(host, port, meters.registry(), alive=alive, ready=ready) if port else None


def _own_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="fractureai-metrics-")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)
