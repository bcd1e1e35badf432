"""pynetdicom's server with bounds: on what is read, on who waits, and on how long a TLS greeting may take."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from fractureai.dicom.sockets import AssociationSocket

_LOG = logging.getLogger(__name__)

_GREETING_S = 10.0
# For one PDU from its first byte to its last: 4 KiB a second of the usual size.
_PDU_S = 30.0
# For an association that is over to find its own end.
_END_S = 5.0
# Above what both sides agreed on: an association request itself has no agreed size.
_LEAST_PDU_BYTES = 1 << 17


class BoundedSocket(AssociationSocket):
    """Reads whole PDUs of bounded size. pynetdicom's own reads what the sender announces, 4 KiB at a time."""

    max_bytes = _LEAST_PDU_BYTES

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``. Raises ``OSError`` if that is too much or takes too long: the connection ends."""
        if nr_bytes > self.max_bytes:
            raise OSError("the PDU is larger than was agreed on")
        buffer = bytearray(nr_bytes)
        deadline_s = time.monotonic() + _PDU_S
        patience_s = self.socket.gettimeout()
        done = 0
        with memoryview(buffer) as view:
            while done < nr_bytes:
                self.socket.settimeout(max(deadline_s - time.monotonic(), 0.001))
                received = self.socket.recv_into(view[done:])
                if not received:
                    break
                done += received
        self.socket.settimeout(patience_s)
        del buffer[done:]
        return buffer


class ListenerHandler(RequestHandler):
    """Makes an association of a connection."""

    server: ListenerServer

    def handle(self) -> None:
        """Greet in this connection's own thread, then let the association run."""
        if len(self.server.active_associations) >= 2 * self.server.ae.maximum_associations:
            _LOG.warning("too many connections; one from %s was closed", self.client_address[0])
            self.server.shutdown_request(self.request)
            return
        if self.server.tls is not None and not self._greet(self.server.tls):
            return
        super().handle()

    def _greet(self, context: ssl.SSLContext) -> bool:
        raw: socket.socket = self.request
        raw.settimeout(_GREETING_S)
        try:
            self.request = context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError) as error:
            _LOG.warning("TLS with %s failed: %s", self.client_address[0], type(error).__name__)
            raw.close()
            return False
        return True

    def _create_association(self) -> Any:
        association = super()._create_association()
        association.dimse = self.server.provider(association)
        _bound(association)
        sock = association.dul.socket
        sock.__class__ = BoundedSocket
        sock.max_bytes = max(self.server.max_pdu_bytes, _LEAST_PDU_BYTES) + 64
        # A connection that says nothing must not hold its thread for ever.
        self.request.settimeout(association.network_timeout)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return association


def _bound(association: Any) -> None:
    """See that an association ends, threads and connection.

    pynetdicom trusts what a PDU says that it could parse: an error there would end one of the two threads and leave the
    other for ever. So would a request that comes when nobody waits for it any more.
    """
    machine, negotiation = association.dul.state_machine, association.acse
    machine.do_action = _guarded(machine.do_action, association)
    negotiation.negotiate_association = _guarded(negotiation.negotiate_association, association)
    kill = association.kill

    def killed() -> None:
        timer = threading.Timer(_END_S, _end, [association])
        timer.daemon = True
        timer.start()
        kill()
        timer.cancel()

    association.kill = killed


def _guarded(act: Callable[..., Any], association: Any) -> Callable[..., Any]:
    def guarded(*what: Any) -> Any:
        try:
            return act(*what)
        except Exception as error:  # of many kinds: whatever a peer may write can be wrong
            _LOG.warning("what %s sent makes no sense: %s", association.requestor.address, type(error).__name__)
            _end(association)
            return None

    return guarded


def wake(association: Any) -> None:
    """Have its thread look around: pynetdicom goes on waiting for a request of who has gone."""
    association.dul.to_user_queue.put(None)


def _end(association: Any) -> None:
    association.is_aborted, association.is_established = True, False
    association._kill = True
    association.dul.kill_dul()
    association.dul.socket._shutdown_socket()
    wake(association)


class ListenerServer(ThreadedAssociationServer):
    """Many associations at once, a thread pair each."""

    daemon_threads = True
    request_queue_size = 64
    tls: ssl.SSLContext | None = None
    max_pdu_bytes = _LEAST_PDU_BYTES
    provider: Callable[[Any], Any]

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named | {"request_handler": ListenerHandler})

    def prepare(self, *, tls: ssl.SSLContext | None, provider: Callable[[Any], Any], max_pdu_bytes: int) -> None:
        """What each association is made with; before the first one."""
        self.tls = tls
        self.provider = provider
        self.max_pdu_bytes = max_pdu_bytes
