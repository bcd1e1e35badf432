"""Rows made anew from what the store says. What the ledger already knows is never changed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert

from fractureai.domain.study import Batch, Stage, Study, WorkState
from fractureai.storage.ledger import finished, intake, rows
from fractureai.storage.ledger.inserts import insert_missing, insert_new
from fractureai.storage.ledger.schema import BATCHES, EVENTS, STUDIES, UPLOADS
from fractureai.storage.ledger.work import Ending


@dataclass(frozen=True, slots=True)
class Remains:
    """What the store tells of a study: its next stage, or how it ended."""

    study: Study
    stage: Stage
    ending: Ending | None


def restore_batch(connection: Connection, batch: Batch, state: WorkState, *, due_at_s: float) -> bool:
    """Insert a batch; ``False`` if it is known."""
    if not insert_new(connection, BATCHES, rows.batch_values(batch, state, publish_due_at_s=due_at_s)):
        return False
    insert_missing(connection, UPLOADS, rows.upload_values(batch))
    return True


def restore_study(connection: Connection, remains: Remains, *, now_s: float) -> bool:
    """Insert a study, open and due at once, or ended; ``False`` if it is known.

    When it ended is not in the store. It counts as ended now, so that whoever asks for what ended since some moment
    gets it once more rather than never.
    """
    study, ending = remains.study, remains.ending
    if not intake.accept_study(connection, study, publish_due_at_s=now_s):
        return False
    values: dict[str, object] = {"stage": remains.stage.value, "updated_at_s": now_s}
    if ending is not None:
        values |= {
            "state": ending.state.value,
            "stage": None if ending.state is WorkState.DONE else remains.stage.value,
            "finished_at_s": now_s,
            "finish_number": finished.next_number(connection, study.site),
            "suspicion": rows.suspicion_of(ending.assessment, ending.max_fracture_probability),
            "assessment": ending.assessment and ending.assessment.value,
            "region": ending.region,
            "max_fracture_probability": ending.max_fracture_probability,
            "reasons": rows.reasons_text(ending.reasons),
        }
    connection.execute(STUDIES.update().where(STUDIES.c.study_id == study.study_id).values(values))
    connection.execute(
        insert(EVENTS), {"study_id": study.study_id, "at_s": now_s, "what": "restored", "detail": "from the store"}
    )
    return True
