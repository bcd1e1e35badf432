"""The listener: C-ECHO and C-STORE from any number of senders.

A sender is told that an instance is safe when it is in the store and in the ledger, and not before; so the listener
may die at any moment, and keeps nothing but connections. What becomes of the images is decided elsewhere
(:mod:`fractureai.stages.examinations`).
"""

from __future__ import annotations

import logging
import socketserver
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.events import Event

from fractureai.dicom.classes import STORAGE_CLASSES, contexts
from fractureai.dicom.headers import Head, NotUnderstood, belonging
from fractureai.dicom.incoming import IncomingDataset, StreamingProvider
from fractureai.dicom.peers import Peers
from fractureai.dicom.recording import Recorder
from fractureai.dicom.server import ListenerServer, wake
from fractureai.domain import keys
from fractureai.domain.examinations import Arrival, Quiet
from fractureai.domain.identity import uid_text
from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.stages import examinations
from fractureai.stages.accept import AcceptPorts

_LOG = logging.getLogger(__name__)

_PREAMBLE = bytes(128) + b"DICM"
_ARTIM_S = 15.0
_IDLE_S = 60.0
_CLASSES = frozenset(str(uid) for uid in STORAGE_CLASSES)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Where it listens, to whom, and within which bounds.

    Attributes
    ----------
    called_ae_titles:
        What callers may call the listener; empty: anything.
    site:
        Of every caller, if the peers file lists none.
    ca_file:
        Whose certificates senders must show, if TLS is on.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "FRACTUREAI"
    called_ae_titles: frozenset[str] = frozenset()
    site: str = "local"
    peers: Peers = field(default_factory=Peers)
    quiet: Quiet = field(default_factory=Quiet)
    max_associations: int = 25
    max_associations_of_address: int = 20
    max_pdu_bytes: int = 1 << 17
    max_instance_bytes: int = 256 << 20
    certificate_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None


class Listener:
    """Listens from its making to :meth:`close`.

    Raises
    ------
    BrokenDeployment
        If the address is taken or the certificate files are not usable.
    """

    def __init__(
        self, settings: ListenerSettings, ports: AcceptPorts, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._clock = clock
        self._new_id = new_id
        self._recorder = Recorder(ports.ledger, clock, settings.site)
        # Its own log names UIDs and patients; ours says what happened by our ids.
        _config.LOG_HANDLER_LEVEL = "none"
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        entity = AE(settings.ae_title)
        entity.maximum_associations = settings.max_associations
        entity.maximum_pdu_size = settings.max_pdu_bytes
        entity.acse_timeout = _ARTIM_S
        entity.dimse_timeout = _IDLE_S
        entity.network_timeout = _IDLE_S
        entity.supported_contexts = contexts()
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]
        tls = _tls_context(settings)
        try:
            self._server = entity.make_server(
                (settings.host, settings.port), evt_handlers=handlers, server_class=ListenerServer
            )
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise BrokenDeployment(f"cannot listen for DICOM on {where} ({error.strerror})") from error
        self._server.prepare(tls=tls, provider=self._provider, max_pdu_bytes=settings.max_pdu_bytes)
        self._entity = entity
        self._thread = threading.Thread(target=self._server.serve_forever, name="dicom-listener", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening; associations that are open are aborted, and what was not acknowledged is sent again."""
        for association in self._server.active_associations:
            association.abort()
        socketserver.BaseServer.shutdown(self._server)
        self._server.server_close()
        self._thread.join(5)

    def _provider(self, association: Any) -> StreamingProvider:
        return StreamingProvider(association, self._open_sink)

    def _on_requested(self, event: Event) -> None:
        requestor = event.assoc.requestor
        # Of the request itself: pynetdicom copies it into the requestor only when it negotiates.
        caller, address = str(requestor.primitive.calling_ae_title).strip(), requestor.address
        called = str(requestor.primitive.called_ae_title).strip()
        if self._settings.called_ae_titles and called not in self._settings.called_ae_titles:
            _LOG.warning("refused %s, which calls another AE title", address)
            self._recorder.refused(caller, address, "a DICOM caller of another AE title")
            _reject(event.assoc, 0x01, 0x01, 0x07)  # permanently: called AE title not recognised
            return
        site = self._settings.peers.site_of(caller, address, default=self._settings.site)
        if site is None:
            _LOG.warning("refused an unknown caller from %s", address)
            self._recorder.refused(caller, address)
            _reject(event.assoc, 0x01, 0x01, 0x03)  # permanently: calling AE title not recognised
            return
        held = sum(each.requestor.address == address for each in self._server.active_associations)
        if held > self._settings.max_associations_of_address:
            _LOG.warning("%s has %d associations already", address, held - 1)
            _reject(event.assoc, 0x02, 0x03, 0x02)  # for now: local limit exceeded
            return
        event.assoc.fractureai_site = site
        event.assoc.fractureai_caller = caller[:16]

    def _on_aborted(self, event: Event) -> None:
        _LOG.warning("an association from %s was aborted", event.assoc.requestor.address)

    @staticmethod
    def _on_closed(event: Event) -> None:
        event.assoc.dimse.discard()
        wake(event.assoc)

    def _open_sink(self, association: Any, message: C_STORE_RQ) -> IncomingDataset | None:
        """Where the data set of a C-STORE request goes; ``None`` if the request makes no sense."""
        command = message.command_set
        context = association._accepted_cx.get(message.context_id)
        if context is None or "AffectedSOPInstanceUID" not in command or "AffectedSOPClassUID" not in command:
            return None
        syntax = context.transfer_syntax[0]
        meta = create_file_meta(
            sop_class_uid=command.AffectedSOPClassUID,
            sop_instance_uid=command.AffectedSOPInstanceUID,
            transfer_syntax=syntax,
        )
        received_at_s = self._clock()
        arrival_id = self._new_id()
        try:
            sink = self._ports.store.sink(keys.arrival(association.fractureai_site, arrival_id, received_at_s))
        except TransientFailure as failure:
            sink, away = _NoSink(), failure
        else:
            away = None
        head = Head(lambda stream, is_whole: belonging(stream, syntax, is_whole=is_whole))
        incoming = IncomingDataset(sink, _PREAMBLE + encode_file_meta(meta), self._settings.max_instance_bytes, head)
        incoming.failure = incoming.failure or away
        incoming.arrival_id, incoming.received_at_s = arrival_id, received_at_s
        return incoming

    def _on_store(self, event: Event) -> Dataset:
        try:
            return _status(*self._store(event))
        except TransientFailure as failure:
            _LOG.warning("an instance was not taken: %s", failure)
            return _status(OUT_OF_RESOURCES, "store or database is away, send again")
        except Exception:  # one instance's trouble must not end the association
            _LOG.exception("an instance was not taken")
            return _status(PROCESSING_FAILURE, "unexpected error")

    def _store(self, event: Event) -> tuple[int, str]:
        incoming = event.request.DataSet
        if not isinstance(incoming, IncomingDataset):
            return CANNOT_UNDERSTAND, "no data set"
        with incoming:
            return self._take(event, incoming)

    def _take(self, event: Event, incoming: IncomingDataset) -> tuple[int, str]:
        request, association = event.request, event.assoc
        sop_class = str(request.AffectedSOPClassUID)
        if sop_class not in _CLASSES or sop_class != event.context.abstract_syntax:
            return SOP_CLASS_NOT_SUPPORTED, "not a radiograph, or not what was agreed on"
        if incoming.too_large:
            return OUT_OF_RESOURCES, "instance is larger than accepted"
        if incoming.failure is not None:
            raise incoming.failure
        try:
            found = incoming.head.identify()
        except NotUnderstood as error:
            return CANNOT_UNDERSTAND, str(error)
        if found.sop_class_uid != sop_class or found.sop_instance_uid != uid_text(request.AffectedSOPInstanceUID):
            return DOES_NOT_MATCH, "data set and request name different instances"
        stored = incoming.sink.commit()
        site = association.fractureai_site
        arrival = Arrival.of(
            found,
            site=site,
            arrival_id=incoming.arrival_id,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            caller=association.fractureai_caller,
            received_at_s=incoming.received_at_s,
        )
        if not examinations.arrived(arrival, self._settings.quiet, self._ports):
            _LOG.info("instance %s came again, byte for byte, and is not processed again", arrival.instance_id)
        self._recorder.arrived(site, arrival.caller, association.requestor.address, arrival.examination_id)
        return SUCCESS, ""


def _reject(association: Any, result: int, source: int, reason: int) -> None:
    """Numbers of PS3.8 table 9-21."""
    association.acse.send_reject(result, source, reason)
    association.kill()


class _NoSink:
    """Stands for a sink the store could not open."""

    def write(self, chunk: bytes, /) -> int:
        return len(chunk)

    def commit(self) -> Any:
        raise TransientFailure("store_unavailable")

    def abort(self) -> None:
        """Nothing to forget."""


def _status(code: int, comment: str) -> Dataset:
    status = Dataset()
    status.Status = code
    if comment:
        status.ErrorComment = comment[:64]
    return status


def _tls_context(settings: ListenerSettings) -> ssl.SSLContext | None:
    if settings.certificate_file is None:
        return None
    try:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.ca_file)
        made.load_cert_chain(settings.certificate_file, settings.key_file)
    except (ssl.SSLError, OSError) as error:
        raise BrokenDeployment(f"the DICOM listener's certificate files are not usable: {error}") from error
    if settings.ca_file is not None:
        made.verify_mode = ssl.CERT_REQUIRED
    return made
