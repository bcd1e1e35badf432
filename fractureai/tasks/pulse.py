"""A sign of life in a file, for whoever watches over the processes of one machine."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def beat(pulse: Path) -> None:
    """Say that this process is getting on. In the machine's own time, which nobody sets."""
    with contextlib.suppress(OSError):  # a full disk must not end the work
        fresh = pulse.with_suffix(f".{os.getpid()}")
        fresh.write_text(repr(time.monotonic()))
        fresh.replace(pulse)


def age_s(pulse: Path) -> float | None:
    """How long ago a process on this machine last said so; ``None`` if it never did."""
    try:
        return time.monotonic() - float(pulse.read_text())
    except (OSError, ValueError):
        return None
