"""A sign of life in a file, for whoever watches over the processes of one machine."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def beat(pulse: Path, *, ahead_s: float = 0.0) -> None:
    """Say that this process is getting on. In the machine's own time, which nobody sets.

    ``ahead_s``: said by another for one that is being started, and has so long to say so itself.
    """
    with contextlib.suppress(OSError):  # a full disk must not end the work
        fresh = pulse.with_suffix(f".{os.getpid()}")
        fresh.write_text(repr(time.monotonic() + ahead_s))
        fresh.replace(pulse)


def age_s(pulse: Path) -> float | None:
    """How long ago a process on this machine last said so; ``None`` if nothing is expected of it."""
    try:
        return time.monotonic() - float(pulse.read_text())
    except (OSError, ValueError):
        return None
