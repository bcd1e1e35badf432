"""Images that come in one by one, for tests of what becomes of them."""

from __future__ import annotations

import uuid

from fractureai.domain import keys
from fractureai.domain.examinations import Arrival, Quiet
from fractureai.domain.identity import InstanceIdentity
from fractureai.stages import examinations, intake
from tests.unit.stages.conftest import House

QUIET = Quiet(after_s=10, at_most_s=100)
STUDY = "1.2.3.4"


def arrive(house: House, sop: str, data: bytes = b"x", study: str = STUDY) -> bool:
    """One image; whether it is new."""
    arrival_id = uuid.uuid4().hex
    stored = house.store.put(keys.arrival("local", arrival_id, house.now_s), data)
    arrival = Arrival.of(
        InstanceIdentity("", sop, study, "DX"),
        site="local",
        arrival_id=arrival_id,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        caller="XRAY1",
        received_at_s=house.now_s,
    )
    return examinations.arrived(arrival, QUIET, house)


def unpack(house: House) -> list[str]:
    """Unpack the batches that are in the queue; the ids of the studies, the newest last."""
    batches = [subject for subject, queue in house.queue.sent if queue == "intake"]
    house.queue.sent.clear()
    for batch_id in batches:
        assert intake.run(batch_id, house) == "done"
    rows = house.ledger.studies(site="local").rows
    return [row.study_id for row in sorted(rows, key=lambda row: row.accepted_at_s)]
