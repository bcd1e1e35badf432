"""Process between a command and its supervisord: ends everything when the command is gone.

``python -m fractureai.embedded.guardian CONFIG [FOLDER...]``. Standard input is a pipe whose other end the command
holds. At its end, because the command closed it or was killed, supervisord is told to stop its programs in order, what
is left of them is killed, and the folders are removed: sockets, and a demo's copies of images.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from fractureai.embedded.supervision import supervisord_command

STOPPED_WITHIN_S = 60.0
"""How long supervisord may take to stop its programs; longer than any of them is given."""

_KILLED_WITHIN_S = 10.0
_LOOK_EVERY_MS = 200
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """Run supervisord until it ends or the command is gone; returns its exit code."""
    config_file, *folders = sys.argv[1:]
    told = _Told()
    # What a killed supervisord leaves behind becomes ours, and is found and ended.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(  # noqa: S603 our own interpreter and file
        supervisord_command(Path(config_file)), stdin=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
    )  # fmt: skip
    while process.poll() is None and not told.to_stop(_LOOK_EVERY_MS):
        pass
    stopping = process.poll() is None
    if stopping:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPPED_WITHIN_S)
    _kill_all_below(process)
    if stopping:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if stopping else process.wait()


class _Told:
    """Stop condition: the command is gone, or a signal came."""

    def __init__(self) -> None:
        self._by_signal = False
        signal.signal(signal.SIGTERM, self._stop)
        for name in (signal.SIGINT, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        self._pipe = select.poll()
        self._pipe.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)

    def to_stop(self, within_ms: int) -> bool:
        return bool(self._pipe.poll(within_ms)) or self._by_signal

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._by_signal = True


def _kill_all_below(process: subprocess.Popen[bytes]) -> None:
    """Kill the children of this process; theirs become its children in turn, until there are none."""
    deadline_s = time.monotonic() + _KILLED_WITHIN_S
    while time.monotonic() < deadline_s:
        children = [pid for pid in _children() if pid != process.pid or process.poll() is None]
        if not children:
            return
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                process.wait() if pid == process.pid else os.waitpid(pid, 0)


def _children() -> list[int]:
    me = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    except OSError:  # no such file system
        return []


def _prctl(option: int, value: int) -> None:
    """Ask the kernel (Linux only; elsewhere a killed command leaves supervisord to its pipe alone)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
