"""A way between a client and a server on this machine that can be made as bad as a hospital's network."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from enum import StrEnum

_CHUNK_BYTES = 1 << 16
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Mode(StrEnum):
    """What becomes of connections."""

    OPEN = "open"
    PAUSED = "paused"  # bytes wait, connections stay
    ERRORS = "errors"  # every request is answered with 500
    SLOW = "slow"  # 300 ms for each piece of at most 64 KiB
    REFUSED = "refused"  # connections are closed at once


class Proxy:
    """Forwards TCP connections to ``target``; its :attr:`mode` may be set at any time from any thread."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.mode = Mode.OPEN
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Take no more connections."""
        self._closed.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self.mode is Mode.REFUSED:
                # A reset, not a polite end: what a client sees of a server that is gone.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                return
            with socket.create_connection(self._target) as server:
                self._carry(client, server)

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        while not self._closed.is_set():
            ready, _, _ = select.select([client, server], [], [], 0.2)
            if self.mode is Mode.PAUSED:
                time.sleep(0.05)
                continue
            if self.mode is Mode.REFUSED:
                return
            for source in ready:
                chunk = source.recv(_CHUNK_BYTES)
                if not chunk:
                    return
                if self.mode is Mode.SLOW:
                    time.sleep(0.3)
                if self.mode is Mode.ERRORS and source is client:
                    client.sendall(_ERROR)
                    return
                (server if source is client else client).sendall(chunk)
