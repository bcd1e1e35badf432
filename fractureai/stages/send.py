"""send: the DICOM results of a finished study, to one destination.

Their UIDs are those of the study's result, so what is sent twice is the same objects twice, and the destination has
them once. What became of each is remembered: what was taken is not sent again because another was refused.
"""

from __future__ import annotations

import contextlib
import json

from fractureai.domain import keys
from fractureai.domain.dicom_objects import DicomObject
from fractureai.domain.ports import OutgoingObject
from fractureai.domain.records import DeliveredObject, Delivery, ObjectState, StudyRow
from fractureai.domain.result import StudyResult
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.stages.artifacts import read_bytes
from fractureai.stages.ports import StagePorts

_TAKEN = frozenset({ObjectState.STORED, ObjectState.VERIFIED})
_OVER = _TAKEN | {ObjectState.REJECTED}


def deliver(delivery: Delivery, row: StudyRow, ports: StagePorts) -> None:
    """Send what was not taken yet and may still be. A study that did not come as DICOM has no such results: then
    nothing is done.

    Raises
    ------
    TransientFailure
        The destination is away, or did not take something; the detail names it.
    RejectedInput
        What it did not take it never will.
    """
    before = {each.name: each for each in ports.ledger.delivered_objects(delivery.delivery_id)}
    wanted = ports.sender.wanted(delivery.destination)
    every = [each for each in _results(row, ports) if each.kind in wanted]
    left = [each for each in every if each.name not in before or before[each.name].state not in _OVER]
    if left:
        with contextlib.ExitStack() as files:
            outgoing = [_outgoing(row, each, files, ports) for each in left]
            outcome = ports.sender.send(delivery.destination, outgoing)
        ports.ledger.note_objects(delivery.delivery_id, outcome)
        before |= {each.name: each for each in outcome}
    missing = [before[each.name] for each in every if before[each.name].state not in _TAKEN]
    if any(each.state is ObjectState.REFUSED for each in missing):
        raise TransientFailure("receiver_unavailable", _words(missing, len(every)))
    if missing:
        raise RejectedInput("receiver_refused", _words(missing, len(every)))


def _results(row: StudyRow, ports: StagePorts) -> tuple[DicomObject, ...]:
    data = read_bytes(ports.store, keys.result_json(row.site, row.study_id))
    return StudyResult.from_json(json.loads(data)).dicom_objects


def _outgoing(row: StudyRow, each: DicomObject, files: contextlib.ExitStack, ports: StagePorts) -> OutgoingObject:
    try:
        path = files.enter_context(ports.store.as_file(keys.dicom_object(row.site, row.study_id, each.name)))
    except KeyError as error:
        raise TransientFailure("artifact_missing", f"{each.name} is not in the store") from error
    return OutgoingObject(each.name, each.sop_instance_uid, each.series_instance_uid, each.study_instance_uid, path)


def _words(refused: list[DeliveredObject], of: int) -> str:
    reasons = ", ".join(f"{each.name} ({each.detail})" for each in refused[:5])
    more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
    return f"{len(refused)} of {of} refused: {reasons}{more}"
