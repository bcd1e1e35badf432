"""A lost ledger, made anew from the store: every study with its files, its state and its findings.

Runs beside a living service, and as often as one likes: what the ledger knows is left alone, so the same command also
finds what a crash between store and ledger left behind. Verdicts, histories and reasons of rejected uploads are in
the ledger only; they come from its backup.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from fractureai.domain import keys
from fractureai.domain.ports import ObjectStore
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Batch, Stage, Study, WorkState
from fractureai.domain.study_json import batch_from_json, study_from_json
from fractureai.storage.ledger.restore import Remains
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.ledger.work import Ending

_LOG = logging.getLogger(__name__)

Document = TypeVar("Document", Batch, Study)

# The last thing each stage writes: where it is, the stage is done.
_VOUCHERS: dict[Stage, Callable[[str, str], str]] = {
    Stage.CLASSIFY: keys.classification_json,
    Stage.DETECT: keys.detection_json,
    Stage.EXPLAIN: keys.explanation_json,
}


@dataclass(slots=True)
class Rebuilt:
    """How many rows were made, and how many documents could not be read."""

    batches: int = 0
    open_studies: int = 0
    ended_studies: int = 0
    unreadable: int = 0


def rebuild(store: ObjectStore, ledger: SqlLedger, *, now_s: float) -> Rebuilt:
    """Bring into the ledger what only the store knows. Reads every key of the store once for batches, once for studies.

    Raises
    ------
    TransientFailure
        If store or ledger goes away; what was done stays, and the next run goes on.
    """
    rebuilt = Rebuilt()
    for batch in _documents(store, "batch.json", _read_batch, rebuilt):
        state = WorkState.OPEN if _uploads_are_there(store, batch) else WorkState.DONE
        rebuilt.batches += ledger.restore_batch(batch, state, due_at_s=now_s)
    for study in _documents(store, "study.json", _read_study, rebuilt):
        if ledger.study(study.study_id, site=study.site) is not None:
            continue
        remains = Remains(study, _next_stage(store, study), _ending(store, study))
        if ledger.restore_study(remains, now_s=now_s):
            rebuilt.open_studies += remains.ending is None
            rebuilt.ended_studies += remains.ending is not None
    return rebuilt


def _documents(
    store: ObjectStore, name: str, read: Callable[[str, Any], Document], rebuilt: Rebuilt
) -> Iterator[Document]:
    for key in store.keys("sites/"):
        if key.rsplit("/", 1)[-1] != name:
            continue
        try:
            yield read(key, json.loads(store.get(key)))
        except KeyError:
            continue  # deleted since it was listed
        except ValueError:
            # One damaged document must not keep the others from coming back.
            _LOG.exception("%s cannot be read", key)
            rebuilt.unreadable += 1


def _read_batch(key: str, data: Any) -> Batch:
    batch = batch_from_json(data)
    if keys.batch_json(batch.site, batch.batch_id) != key:
        raise ValueError("it speaks of another batch")
    return batch


def _read_study(key: str, data: Any) -> Study:
    study = study_from_json(data)
    if keys.study_json(study.site, study.study_id) != key:
        raise ValueError("it speaks of another study")
    return study


def _uploads_are_there(store: ObjectStore, batch: Batch) -> bool:
    """Whether a batch can be unpacked again, which makes the same studies; uploads go only once they are unpacked."""
    return bool(batch.uploads) and all(
        store.size_bytes(keys.batch_upload(batch.site, batch.batch_id, upload.number)) is not None
        for upload in batch.uploads
    )


def _next_stage(store: ObjectStore, study: Study) -> Stage:
    for stage, voucher in _VOUCHERS.items():
        if store.size_bytes(voucher(study.site, study.study_id)) is None:
            return stage
    return Stage.REPORT


def _ending(store: ObjectStore, study: Study) -> Ending | None:
    try:
        data = store.get(keys.result_json(study.site, study.study_id))
    except KeyError:
        return None
    try:
        result = StudyResult.from_json(json.loads(data))
    except (ValueError, KeyError, TypeError):
        _LOG.exception("study %s: result.json cannot be read; the study is done again", study.study_id)
        return None
    if result.state is WorkState.OPEN:
        return None
    finding = result.finding
    return Ending(result.state, finding.assessment, result.region, result.max_fracture_probability, finding.reasons)
