"""A ledger that has seen much: finished studies of every kind, put in as rows."""

from __future__ import annotations

import random
import uuid

from fractureai.domain.study import Assessment
from fractureai.storage.ledger import rows
from fractureai.storage.ledger.schema import BATCHES, FINISHES, STUDIES, WORDS
from fractureai.storage.ledger.sql import SqlLedger

BATCH = 1000
ERA = "abcd"
_REGIONS = {"hand": 40, "leg": 30, "elbow": 15, "shoulder": 10, "hip": 5}
_SHARES = {Assessment.FRACTURE: 5, Assessment.SUSPECTED: 10, Assessment.INCONCLUSIVE: 15, Assessment.NO_FRACTURE: 70}


def batch_id_of(number: int) -> str:
    """The id of the batch that was filled in as this one, from 0."""
    return uuid.UUID(int=number + 1).hex


def fill(ledger: SqlLedger, count: int, *, site: str) -> None:
    """Add ``count`` finished studies in batches of 1,000: most normal, few broken, each found by the word ``scan`` and
    by one of its own.
    """
    chance = random.Random(1)
    studies, words = [], []
    for number in range(count):
        study_id = uuid.UUID(int=chance.getrandbits(128)).hex
        assessment = chance.choices(list(_SHARES), list(_SHARES.values()))[0]
        probability = chance.random()
        studies.append(
            {"study_id": study_id, "site": site, "batch_id": batch_id_of(number // BATCH), "label": f"scan n{number}"}
            | {"state": "done", "stage": None, "image_count": 1, "accepted_at_s": float(number), "reasons": "[]"}
            | {"updated_at_s": 1.0, "finished_at_s": 1.0, "attempts": 0, "publish_due_at_s": 1.0}
            | {"assessment": assessment.value, "region": chance.choices(list(_REGIONS), list(_REGIONS.values()))[0]}
            | {"max_fracture_probability": probability, "suspicion": rows.suspicion_of(assessment, probability)}
            | {"finish_number": number + 1}
        )
        words += [
            {"study_id": study_id, "word": word, "site": site} for word in ("scan", f"n{number}", "dcm", study_id)
        ]
    with ledger._connections.write(durable=False) as connection:
        connection.execute(BATCHES.insert(), [_batch(number, site) for number in range(-(-count // BATCH))])
        connection.execute(FINISHES.insert(), {"site": site, "era": ERA, "last_number": count})
        connection.execute(STUDIES.insert(), studies)
        connection.execute(WORDS.insert(), words)


def _batch(number: int, site: str) -> dict[str, object]:
    who = {"batch_id": batch_id_of(number), "site": site, "label": f"batch {number}", "state": "done", "reasons": "[]"}
    return who | {"accepted_at_s": 1.0, "upload_count": 1, "attempts": 0, "publish_due_at_s": 1.0, "updated_at_s": 1.0}
