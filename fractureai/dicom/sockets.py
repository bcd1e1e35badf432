"""A leak of pynetdicom 3.0.4, mended: it does not close a socket whose other side is gone, as after every failed call.

Every module of ours that connects or listens imports this one first.
"""

from __future__ import annotations

import contextlib
import socket

from pynetdicom.transport import AssociationSocket


def _shutdown_socket(self: AssociationSocket) -> None:
    """Shut it down if that can be, and close it in any case."""
    if self.socket is None:
        return
    with contextlib.suppress(OSError):
        self.socket.shutdown(socket.SHUT_RDWR)
    self.socket.close()


AssociationSocket._shutdown_socket = _shutdown_socket  # type: ignore[method-assign]

__all__ = ["AssociationSocket"]
