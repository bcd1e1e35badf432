"""Ends what a test run has started when the run is gone, in whatever way: also after a kill -9.

Every process that a test starts inherits :data:`MARK` in its environment. A small process of its own waits at a pipe
that the run holds, and at its end kills everything that bears the mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import IO

MARK = "FAI_TEST_RUN"
"""No setting's name: tests that start processes without this machine's settings keep it."""
_KILLED_WITHIN_S = 20.0


def watch_over_this_run() -> IO[bytes]:
    """Mark what this process starts from now on; the reaper acts when the pipe that is returned is closed."""
    before = os.environ.pop(MARK, None)
    command = [sys.executable, "-I", "-S", __file__]
    mark = f"{before or ''}/{uuid.uuid4().hex}"
    reaper = subprocess.Popen([*command, mark], stdin=subprocess.PIPE, start_new_session=True)
    os.environ[MARK] = mark
    assert reaper.stdin is not None
    # It outlives the run that it watches, so there is no wait for it.
    reaper.returncode = 0
    return reaper.stdin


def marked(mark: str) -> list[int]:
    """Processes that bear a mark, or one that was made below it."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(entry.startswith(wanted) for entry in (process / "environ").read_bytes().split(b"\0")):
                found.append(int(process.name))
    return found


def _reap(mark: str) -> None:
    sys.stdin.buffer.read()
    until_s = time.monotonic() + _KILLED_WITHIN_S
    while (left := marked(mark)) and time.monotonic() < until_s:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _reap(sys.argv[1])
