"""Talking to a DIMSE peer: echo, store, and a look whether what was stored is there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from fractureai.dicom import sockets
from fractureai.dicom.peers import Destination
from fractureai.domain.ports import OutgoingObject
from fractureai.domain.records import DeliveredObject, ObjectState
from fractureai.domain.refusals import is_final_context, is_final_status
from fractureai.errors import TransientFailure

_MENDED = sockets.AssociationSocket
_FIND = StudyRootQueryRetrieveInformationModelFind
_DUPLICATE = 0x0111
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007})
_PENDING = frozenset({0xFF00, 0xFF01})
_CONNECT_S = 5.0


def echo(destination: Destination, ae_title: str) -> None:
    """C-ECHO. Raises ``TransientFailure('receiver_unavailable')`` unless it answers with success."""
    with _association(destination, ae_title, [build_context(Verification)]) as association:
        status = association.send_c_echo()
        if not status or status.Status != 0:
            raise TransientFailure("receiver_unavailable", _words(status))


def store(destination: Destination, ae_title: str, objects: Sequence[OutgoingObject]) -> list[DeliveredObject]:
    """C-STORE each, and look for each by C-FIND if the peer can.

    Returns
    -------
    What became of every object: an association that ends well says nothing of them.

    Raises
    ------
    TransientFailure
        ``receiver_unavailable``: there was no association, so nothing was sent.
    """
    datasets = {each.name: dcmread(each.path) for each in objects}
    wanted = _contexts(datasets.values())
    if destination.check != "off":
        wanted.append(build_context(_FIND))
    with _association(destination, ae_title, wanted) as association:
        sent = [_store(association, each, datasets[each.name]) for each in objects]
        return [_checked(association, destination, each, done) for each, done in zip(objects, sent, strict=True)]


@contextmanager
def _association(destination: Destination, ae_title: str, contexts: list[PresentationContext]) -> Iterator[Any]:
    # Its own log names UIDs and patients.
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    entity = AE(destination.calling_ae_title or ae_title)
    entity.connection_timeout = min(_CONNECT_S, destination.timeout_s)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = destination.timeout_s
    tls = (destination.tls.context(), str(destination.host)) if destination.tls else None
    association = entity.associate(
        str(destination.host), int(destination.port or 0), contexts, destination.ae_title, tls_args=tls
    )
    if not association.is_established:
        how = "the association was rejected" if association.is_rejected else "could not be reached"
        raise TransientFailure("receiver_unavailable", how)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _contexts(datasets: Any) -> list[PresentationContext]:
    pairs: dict[tuple[UID, UID], None] = {}
    for dataset in datasets:
        for syntax in (dataset.file_meta.TransferSyntaxUID, ExplicitVRLittleEndian, ImplicitVRLittleEndian):
            pairs[dataset.SOPClassUID, syntax] = None
    return [build_context(sop_class, syntax) for sop_class, syntax in pairs]


def _store(association: Any, each: OutgoingObject, dataset: Dataset) -> DeliveredObject:
    if not association.is_established:
        return DeliveredObject(each.name, ObjectState.REFUSED, "the connection was lost")
    _as_accepted(association, dataset)
    try:
        status = association.send_c_store(dataset)
    except ValueError:  # no presentation context was accepted for it
        return _kind_not_taken(association, each, dataset)
    except RuntimeError:  # the association ended in the meantime
        return DeliveredObject(each.name, ObjectState.REFUSED, "the connection was lost")
    if not status:
        return DeliveredObject(each.name, ObjectState.REFUSED, "no answer")
    return DeliveredObject(each.name, _state(status.Status), _words(status))


def _as_accepted(association: Any, dataset: Dataset) -> None:
    """Decompress it for a peer that takes its kind, but not so; it stays the same object (PS3.5 section 10.1)."""
    accepted = {
        one.transfer_syntax[0] for one in association.accepted_contexts if one.abstract_syntax == dataset.SOPClassUID
    }
    syntax = dataset.file_meta.TransferSyntaxUID
    if accepted and syntax not in accepted and syntax.is_compressed:
        dataset.decompress(generate_instance_uid=False)


def _state(status: int) -> ObjectState:
    if status == 0 or status in _WARNINGS or status == _DUPLICATE:
        return ObjectState.STORED
    return ObjectState.REJECTED if is_final_status(status) else ObjectState.REFUSED


def _kind_not_taken(association: Any, each: OutgoingObject, dataset: Dataset) -> DeliveredObject:
    answers = [one.result for one in association.rejected_contexts if one.abstract_syntax == dataset.SOPClassUID]
    state = ObjectState.REJECTED if all(map(is_final_context, answers)) else ObjectState.REFUSED
    return DeliveredObject(each.name, state, "the destination does not take objects of this kind")


def _checked(
    association: Any, destination: Destination, each: OutgoingObject, done: DeliveredObject
) -> DeliveredObject:
    if done.state is not ObjectState.STORED or destination.check == "off":
        return done
    return judged(done, _is_there(association, each), required=destination.check == "required")


def judged(done: DeliveredObject, is_there: bool | None, *, required: bool) -> DeliveredObject:
    """What was said to be stored, after a look; ``None``: the peer cannot be asked."""
    if is_there:
        return DeliveredObject(done.name, ObjectState.VERIFIED, done.detail)
    if is_there is None and not required:
        return done
    why = "it could not be checked" if is_there is None else "said to be stored, but not found there"
    return DeliveredObject(done.name, ObjectState.REFUSED, why)


def _is_there(association: Any, each: OutgoingObject) -> bool | None:
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    if not association.is_established or _FIND not in accepted:
        return None
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = each.study_instance_uid
    query.SeriesInstanceUID = each.series_instance_uid
    query.SOPInstanceUID = each.sop_instance_uid
    found, last = False, None
    try:
        for status, identifier in association.send_c_find(query, _FIND):
            last = status.Status if status else None
            found = found or (last in _PENDING and identifier is not None)
    except (RuntimeError, ValueError):
        return None
    return found if last == 0 else None


def _words(status: Any) -> str:
    if not status:
        return "no answer"
    # The peer's own comment may name a patient; the number says what it is (PS3.4 table B.2-1, PS3.7 annex C).
    return "" if status.Status == 0 else f"status 0x{status.Status:04X}"
