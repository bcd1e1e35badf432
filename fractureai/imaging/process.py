"""The parent's end of a decoding child: start, ask within a deadline, kill.

The child may have been taken over by what it read, so nothing it answers is trusted: lengths are bounded, pixels land
in an array of this process, and the text is read as JSON values only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import fractureai
from fractureai.domain.reasons import REASONS
from fractureai.errors import BrokenDeployment, RejectedInput, TransientFailure
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.text import clean

_LENGTH = struct.Struct(">I")
# A DICOM context with its lookup tables in base64, and room for the rest.
_MAX_HEADER_BYTES = 384 * 1024
# One pipe's worth is a whole answer: the child need not wait for the parent to read, which saves switches.
_PIPE_BYTES = 1024 * 1024
_START_TIMEOUT_S = 60.0
_MAX_DETAIL = 200
_MOST_ERRNO = 4096
NONSENSE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading an answer may raise: whoever has taken over a child writes its answers, as untrusted as the file."""

IDENTITY = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "modality")
"""What an answer tells of the instance a file claims to be."""

_PACKAGE_ROOT = Path(fractureai.__file__).resolve().parents[1]

# Passed on where set: finding libraries and nothing else; above all no credentials.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")

# One thread, one heap, and large arrays given back to the system when they are freed: resident memory after large
# files stays at 80 MB instead of 120.
_MALLOC_BYTES = str(4 * 1024 * 1024)
_FRUGAL = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": _MALLOC_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _MALLOC_BYTES,
}


class ChildDied(Exception):
    """The child ended, or answered nonsense, before its answer was whole."""


class ChildTimedOut(Exception):
    """No whole answer within the deadline."""


class Child:
    """One running child. Not safe to share between threads."""

    def __init__(self, process: subprocess.Popen[bytes], max_pixels: int) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the child needs pipes")
        self._process = process
        self._to_child = process.stdin.fileno()
        self._from_child = process.stdout.fileno()
        self._max_pixels = max_pixels
        self.asked = 0

    @classmethod
    def start(cls, limits: DecodeLimits) -> Child:
        """Start a child and wait until it is ready.

        Raises
        ------
        TransientFailure
            The system has no process or memory left, or something killed the child before it was ready.
        BrokenDeployment
            The child gives up before it is ready: a broken installation, or ``memory_bytes`` too low for it.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 -- a fixed command, no shell, nothing of the file in it
                _command(limits),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(),
                cwd="/",
            )
        except OSError as error:
            raise TransientFailure("internal_error", "no decoding child could be started") from error
        child = cls(process, limits.long_side_px**2)
        try:
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(child._from_child, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            child._receive(time.monotonic() + _START_TIMEOUT_S)
        except (ChildDied, ChildTimedOut) as error:
            child.kill()
            if isinstance(error, ChildTimedOut) or process.returncode < 0:
                raise TransientFailure("internal_error", "the decoding child was stopped while it started") from error
            raise BrokenDeployment(
                f"the decoding child does not start (exit status {process.returncode}, {limits.memory_bytes} bytes "
                "of address space); run 'python -m fractureai.imaging.child {}' to see why"
            ) from error
        except BaseException:
            child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, request: dict[str, str], *, deadline_s: float) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
        """Send one request and read its answer.

        Parameters
        ----------
        request:
            Becomes one JSON line.
        deadline_s:
            On the monotonic clock.

        Returns
        -------
        The header, and ``(h, w)`` uint8 pixels if it announces any.

        Raises
        ------
        ChildDied, ChildTimedOut
            The child is of no more use; :meth:`kill` it.
        """
        self.asked += 1
        try:
            os.write(self._to_child, json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise ChildDied from error
        return self._receive(deadline_s)

    def kill(self) -> None:
        """End the process and its pipes, and wait for it; safe to call twice."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._close_pipes()

    def disown(self) -> None:
        """Let go of a child that a fork inherited, without touching it."""
        self._close_pipes()
        self._process.returncode = 0  # Not ours to wait for.

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _receive(self, deadline_s: float) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline_s))
        if length > _MAX_HEADER_BYTES:
            raise ChildDied("an impossible header")
        try:
            header = json.loads(self._read(length, deadline_s))
            height, width = (int(extent) for extent in header.get("shape", (0, 0)))
        except NONSENSE as error:
            raise ChildDied("an answer that makes no sense") from error
        if min(height, width) < 0 or height * width > self._max_pixels:
            raise ChildDied("an impossible shape")
        pixels = np.empty((height, width), np.uint8)
        if pixels.size == 0:
            return header, None
        self._read_into(memoryview(pixels.reshape(-1)), deadline_s)
        return header, pixels

    def _read(self, size_bytes: int, deadline_s: float) -> bytes:
        buffer = bytearray(size_bytes)
        self._read_into(memoryview(buffer), deadline_s)
        return bytes(buffer)

    def _read_into(self, view: memoryview, deadline_s: float) -> None:
        poll = select.poll()
        poll.register(self._from_child, select.POLLIN)
        while view:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                raise ChildTimedOut
            count = os.readv(self._from_child, [view])
            if count == 0:
                raise ChildDied("the child ended")
            view = view[count:]


def raise_refusal(header: dict[str, Any]) -> None:
    """Raise what an answer says went wrong, if it does: a reason that there is, in safe words.

    Raises
    ------
    RejectedInput
        The file is at fault; ``decoder_crashed`` for a reason that nobody knows.
    TransientFailure
        The file could not be read.
    """
    if "rejected" in header:
        code, detail = str(header["rejected"]), clean(header.get("detail", ""), _MAX_DETAIL)
        raise RejectedInput(code if code in REASONS else "decoder_crashed", detail)
    number = header.get("os_error")
    if isinstance(number, int):
        raise TransientFailure("store_unavailable", os.strerror(number) if 0 <= number < _MOST_ERRNO else "")


def _command(limits: DecodeLimits) -> list[str]:
    return [sys.executable, "-B", "-P", "-m", "fractureai.imaging.child", json.dumps(limits.to_json())]


def _environment() -> dict[str, str]:
    """What the child may know: where its code is, and to be frugal."""
    passed = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return passed | _FRUGAL | {"PYTHONPATH": str(_PACKAGE_ROOT)}
