"""STOW-RS (PS3.18 section 10.5): instances over HTTP, which become studies as those of the DICOM listener do.

Each part streams into the store. Its instance is told by its first bytes, and the sender hears of each whether it is
safe. An examination becomes a study when nothing more has come for a while; what comes later revises it.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import ClientDisconnected

from fractureai.domain import keys
from fractureai.domain.examinations import Arrival
from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.names import safe_text
from fractureai.domain.ports import InstanceHead, InstanceReader, Sink, StoredObject
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.stages import examinations
from fractureai.web import accept
from fractureai.web.context import site, web
from fractureai.web.dicomweb_response import JSON, XML, Failure, Instance, Stored
from fractureai.web.header_parameters import media_type_of, parse_header
from fractureai.web.multipart import CHUNK_BYTES, MultipartReader, NotMultipart, Part
from fractureai.web.problems import Problem
from fractureai.web.upload import drain

log = logging.getLogger(__name__)

bp = Blueprint("dicomweb", __name__, url_prefix="/dicomweb")

CALLER = "STOW-RS"
_INSTANCE = "application/dicom"
_UID = re.compile(r"[0-9.]{1,64}")


@bp.post("/studies")
@bp.post("/studies/<study_uid>")
def store(study_uid: str = "") -> Response:
    """Store instances; with a StudyInstanceUID in the address, of that study only."""
    reader = web().ports.instances
    if reader is None or (study_uid and not _UID.fullmatch(study_uid)):
        drain(request)
        raise Problem("not_found")
    answer_type = _answer_type()
    accept.refuse_when_busy(request)
    try:
        stored = _store_all(_parts(), study_uid, reader)
    except NotMultipart as error:
        drain(request)
        raise Problem("bad_request", str(error)) from error
    except ClientDisconnected as error:
        raise Problem("upload_cut_off") from error
    except Exception:
        drain(request)  # whatever went wrong is raised again; the sender must be able to hear of it
        raise
    body = stored.body(answer_type)
    response = jsonify(body) if isinstance(body, dict) else Response(body)
    response.mimetype = answer_type
    response.status_code = stored.status
    return response


def _answer_type() -> str:
    """What the sender wants to read: JSON unless it asks for XML."""
    if not request.accept_mimetypes:
        return JSON
    found = request.accept_mimetypes.best_match([JSON, "application/json", XML])
    if found is None:
        drain(request)
        raise Problem("not_acceptable", f"It is {JSON} or {XML}.")
    return XML if found == XML else JSON


def _parts() -> Iterable[Part]:
    """The instances of the request: parts of ``multipart/related``, or the whole body is one."""
    said = parse_header(request.headers.get("Content-Type", ""))
    if said.value == _INSTANCE:
        return [Part({}, iter(lambda: request.stream.read(CHUNK_BYTES), b""))]
    if said.value != "multipart/related" or media_type_of(said.parameters.get("type", _INSTANCE)) != _INSTANCE:
        named = safe_text(request.headers.get("Content-Type"), 100)
        wanted = f'Send multipart/related; type="{_INSTANCE}"; boundary=…, or a single instance as {_INSTANCE}.'
        raise Problem("unsupported_media_type", f"{wanted} It says “{named}”." if named else f"{wanted} There is none.")
    return MultipartReader(request.stream, said.parameters.get("boundary", ""))


def _store_all(parts: Iterable[Part], study_uid: str, reader: InstanceReader) -> Stored:
    stored = Stored()
    limits = web().settings
    for number, part in enumerate(parts, start=1):
        if number > limits.max_files:
            drain(request)
            # What came before is safe; sent again, it is known.
            raise Problem("too_many_files", f"At most {limits.max_files} in one request.")
        _store_one(part, study_uid, reader, stored)
    if not (stored.referenced or stored.failed or stored.others):
        raise Problem("no_images")
    return stored


def _store_one(part: Part, study_uid: str, reader: InstanceReader, stored: Stored) -> None:
    ports, here = web().ports, site()
    # What a browser does not know it calls a stream of octets; the first bytes say what it is.
    if part.media_type not in {_INSTANCE, "application/octet-stream", ""}:
        stored.others.append(Failure.NOT_UNDERSTOOD)
        return
    arrival_id, now_s = ports.new_id(), ports.clock()
    key = keys.arrival(here, arrival_id, now_s)
    received = _Received(ports.store.sink(key), web().settings.max_file_bytes, reader.head())
    try:
        received.take(part)
        found = received.head.identify()
        failure = _refusal(found, study_uid, received, reader)
        if failure is not None:
            stored.failed.append((_instance(found), failure))
            return
        kept = received.commit()
    except RejectedInput as error:
        log.info("an instance was refused: %s", error)
        stored.others.append(Failure.NOT_UNDERSTOOD)
        return
    except TransientFailure as error:
        log.warning("an instance was not stored: %s", error)
        _note_failure(received, stored)
        return
    finally:
        received.sink.abort()
    arrival = Arrival.of(
        found,
        site=here,
        arrival_id=arrival_id,
        size_bytes=kept.size_bytes,
        sha256=kept.sha256,
        caller=CALLER,
        received_at_s=now_s,
    )
    try:
        examinations.arrived(arrival, ports.policy.quiet, ports)
    except TransientFailure as error:
        log.warning("an instance was not recorded: %s", error)
        stored.failed.append((_instance(found), Failure.OUT_OF_RESOURCES))
    else:
        stored.referenced.append(_instance(found))


def _refusal(found: InstanceIdentity, study_uid: str, received: _Received, reader: InstanceReader) -> Failure | None:
    if study_uid and found.study_instance_uid != study_uid:
        return Failure.OTHER_STUDY
    if not reader.takes(found.sop_class_uid):
        return Failure.CLASS_NOT_SUPPORTED
    return Failure.OUT_OF_RESOURCES if received.too_large else None


def _note_failure(received: _Received, stored: Stored) -> None:
    """The store is away or full: that is said of the instance, if it can be told which it was."""
    with contextlib.suppress(RejectedInput):
        stored.failed.append((_instance(received.head.identify()), Failure.OUT_OF_RESOURCES))
        return
    stored.others.append(Failure.OUT_OF_RESOURCES)


def _instance(found: InstanceIdentity) -> Instance:
    return Instance(found.sop_class_uid, found.sop_instance_uid)


class _Received:
    """One part on its way into the store, and its first bytes."""

    def __init__(self, sink: Sink, max_bytes: int, head: InstanceHead) -> None:
        self.sink = sink
        self.head = head
        self.size_bytes = 0
        self._max_bytes = max_bytes

    @property
    def too_large(self) -> bool:
        """Whether it is more than the limit; then it is read on, but not kept."""
        return self.size_bytes > self._max_bytes

    def take(self, part: Part) -> None:
        """Read the part to its end. The answer must name the instance, so the head is kept whatever happens."""
        failure: TransientFailure | None = None
        for chunk in part.chunks:
            self.size_bytes += len(chunk)
            self.head.write(chunk)
            if failure is None and not self.too_large:
                try:
                    self.sink.write(chunk)
                except TransientFailure as error:
                    failure = error
        if failure is not None:
            raise failure

    def commit(self) -> StoredObject:
        """Keep it."""
        return self.sink.commit()
