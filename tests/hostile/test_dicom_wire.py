"""Bytes no DICOM program would send, to a listener: each costs its own connection, for a bounded time."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from pynetdicom.dul import DULServiceProvider

from fractureai.dicom import listener, server
from tests.hostile.dicom_scu import echo, listening
from tests.hostile.dicom_wire import RADIOGRAPH, context, fragment, pdu, request, store, wires
from tests.integration.waiting import until

_WIRES = dict(wires())
_MAY_GROW_BYTES = 128 << 20


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A listener whose patience is short, so that its end is seen; and nothing of it is left."""
    monkeypatch.setattr(listener, "_ARTIM_S", 3.0)
    monkeypatch.setattr(listener, "_IDLE_S", 3.0)
    monkeypatch.setattr(server, "_PDU_S", 2.0)
    monkeypatch.setattr(server, "_END_S", 0.5)
    before = set(threading.enumerate())
    with listening(tmp_path, max_associations=100, max_associations_of_address=100, max_instance_bytes=100_000) as post:
        ours = set(threading.enumerate())
        yield post.port
        for thread in set(threading.enumerate()) - ours:
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} goes on"
    assert set(threading.enumerate()) <= before


def test_what_makes_no_sense_ends_and_honest_senders_are_served(port: int) -> None:
    held_bytes = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(len(_WIRES)) as pool:
        writing = {name: pool.submit(_end_of, port, writes) for name, writes in _WIRES.items()}
        assert echo(port) == 0
    assert {name: found.result() for name, found in writing.items()} == dict.fromkeys(_WIRES, "ended")
    assert psutil.Process().memory_info().rss - held_bytes < _MAY_GROW_BYTES
    assert echo(port) == 0


def test_who_sends_a_byte_now_and_then_is_not_waited_for(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(pdu(1, b"", 60_000))
        gone = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not gone.wait(0.05):
                    wire.sendall(b"\0")

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert _read(wire) == "ended"
        gone.set()
        dripping.join()


def test_who_goes_without_a_word_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As port scans and load balancers do; enough of them would keep everybody out until the patience ends."""
    monkeypatch.setattr(listener, "_ARTIM_S", 600.0)
    with listening(tmp_path, max_associations=4) as post:
        for _ in range(20):
            socket.create_connection(("127.0.0.1", post.port)).close()
        until(lambda: echo(post.port) == 0 or None)


def test_a_request_that_comes_as_patience_ends_is_not_kept_waiting(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread has given up, the other has just taken the request."""
    receive = DULServiceProvider.receive_pdu

    def too_late(self: DULServiceProvider, wait: bool = False, timeout: float | None = None) -> Any:
        if not (wait and self.assoc.is_acceptor):
            return receive(self, wait, timeout)
        until(lambda: not self.to_user_queue.empty() or None)
        return None

    monkeypatch.setattr(DULServiceProvider, "receive_pdu", too_late)
    assert _end_of(port, [request(context(1))]) == "ended"


def test_a_data_set_without_end_is_not_read_for_ever(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(request(context(3, RADIOGRAPH)))
        assert wire.recv(65536)[:1] == b"\x02"
        piece = fragment(3, 0, bytes(60_000))
        with contextlib.suppress(ConnectionError):
            wire.sendall(fragment(3, 3, store()))
            for _ in range(100):
                wire.sendall(piece)
        assert _read(wire) == "ended"


def _end_of(port: int, writes: Sequence[bytes]) -> str:
    """Write, waiting for an answer after the first of several, then read until the listener ends it."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        with contextlib.suppress(ConnectionError):
            for number, data in enumerate(writes):
                wire.sendall(data)
                if number == 0 and len(writes) > 1 and wire.recv(65536)[:1] != b"\x02":
                    return "not accepted"
        return _read(wire)


def _read(wire: socket.socket) -> str:
    try:
        while wire.recv(65536):
            pass
    except TimeoutError:
        return "goes on"
    except ConnectionError:
        pass
    return "ended"
