"""A heartbeat in a file, for the supervisor of one machine's processes."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

SILENT_S = 90.0
"""A process that has not beaten for longer hangs."""
_AHEAD = " ahead"


def beat(pulse: Path, *, ahead_s: float = 0.0) -> None:
    """Write that this process is alive, in the machine's monotonic time.

    ``ahead_s``: written by the supervisor for a process it starts, which has so long for its own first beat.
    """
    with contextlib.suppress(OSError):  # a full disk must not end the work
        fresh = pulse.with_suffix(f".{os.getpid()}")
        fresh.write_text(f"{time.monotonic() + ahead_s!r}{_AHEAD if ahead_s else ''}")
        fresh.replace(pulse)


def age_s(pulse: Path) -> float | None:
    """Seconds since the last beat, negative before the first; ``None`` if none is expected."""
    try:
        return time.monotonic() - float(pulse.read_text().removesuffix(_AHEAD))
    except (OSError, ValueError):
        return None


def states(folder: Path) -> dict[str, str]:
    """The state of every process that beats in a folder, by name: ``ok``, ``starting`` or ``silent``."""
    return {file.name: _state(file) for file in sorted(folder.glob("*")) if not file.suffix}


def _state(pulse: Path) -> str:
    age = age_s(pulse)
    if age is None or age > SILENT_S:
        return "silent"
    with contextlib.suppress(OSError):
        return "starting" if pulse.read_text().endswith(_AHEAD) else "ok"
    return "silent"
