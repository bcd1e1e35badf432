"""A connection to the DICOM listener, as a function of bytes."""

from __future__ import annotations

import atexit
import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.fuzz.corpus import scratch
from tests.hostile.dicom_scu import listening
from tests.hostile.dicom_wire import RADIOGRAPH, context, fragment, request, store, wires

_PATIENCE_S = 60.0
_SOON_S = 0.5


@cache
def _port() -> int:
    opened = contextlib.ExitStack()
    # While its thread still runs; when the interpreter has ended that, closing would wait for it for ever.
    atexit.register(opened.close)
    return opened.enter_context(listening(scratch(), max_associations=100, max_associations_of_address=100)).port


def read(data: bytes) -> None:
    """The first PDU, then, if it is accepted, all that follows it; the listener must come to an end of it."""
    port, announced = _port(), 6 + int.from_bytes(data[2:6], "big")
    with _no_thread_fails(), socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as wire:
        try:
            wire.sendall(data[:announced])
            if len(data) > announced and _answer(wire)[:1] == b"\x02":
                wire.sendall(data[announced:])
            wire.shutdown(socket.SHUT_WR)
            while wire.recv(65536):
                pass
        except TimeoutError:
            raise
        except OSError:
            return  # it was reset


def _answer(wire: socket.socket) -> bytes:
    """Nothing if none comes soon: the listener may wait for more, for its bounded time."""
    return wire.recv(65536) if select.select([wire], [], [], _SOON_S)[0] else b""


@contextlib.contextmanager
def _no_thread_fails() -> Iterator[None]:
    """Wait for the threads a connection was served by; none may end in an error, or log one it did not expect."""
    before, failed = set(threading.enumerate()), []
    watching = _Errors(failed)
    hook, threading.excepthook = threading.excepthook, lambda args: failed.append(_place(args.exc_value))
    logging.getLogger("fractureai").addHandler(watching)
    try:
        yield
        deadline_s = time.monotonic() + _PATIENCE_S
        while set(threading.enumerate()) - before:
            assert time.monotonic() < deadline_s, "a connection's thread goes on"
            time.sleep(0.001)
    finally:
        threading.excepthook = hook
        logging.getLogger("fractureai").removeHandler(watching)
    assert not failed, failed[0]


class _Errors(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(_place(record.exc_info[1] if record.exc_info else None) or record.getMessage())


def _place(error: BaseException | None) -> str:
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__} {where}".strip() if error else ""


@cache
def seeds() -> tuple[bytes, ...]:
    """Requests, commands and pieces of data sets; the hostile ones that are not large, and two that are honest."""
    hostile = [b"".join(writes) for _, writes in wires()]
    opened = request(context(1), context(3, RADIOGRAPH))
    echo_command = fragment(1, 3, bytes.fromhex("00000000040000003800000000000200120000003132"))
    stored = fragment(3, 3, store()) + fragment(3, 2, _dataset()) + b"\5\0\0\0\0\4\0\0\0\0"
    return (*(each for each in hostile if len(each) <= 8192), opened + echo_command, opened + stored)


def _dataset() -> bytes:
    """Implicit little endian, with what the listener looks for."""
    values = {
        (0x0008, 0x0016): RADIOGRAPH,
        (0x0008, 0x0018): b"1.2.3",
        (0x0008, 0x0060): b"CR",
        (0x0020, 0x000D): b"1.2.4",
    }
    parts = []
    for (group, element), value in values.items():
        even = value + b"\0" * (len(value) % 2)
        head = group.to_bytes(2, "little") + element.to_bytes(2, "little") + len(even).to_bytes(4, "little")
        parts.append(head + even)
    return b"".join(parts)
