"""What people and machines ask: one study, one batch, the worklist, the history."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection, bindparam, func, select

from fractureai.domain.contents import SKIPPED
from fractureai.domain.reasons import Reason
from fractureai.domain.records import BatchRow, Event, StudyRow
from fractureai.domain.study import Study, WorkState
from fractureai.storage.ledger import rows
from fractureai.storage.ledger.schema import BATCHES, EVENTS, IMAGES, REJECTIONS, STUDIES

_STUDY_ROW = select(*(STUDIES.c[field.name] for field in dataclasses.fields(StudyRow)))
_ONE_STUDY = (STUDIES.c.study_id == bindparam("id"), STUDIES.c.site == bindparam("of"))
_STUDY = _STUDY_ROW.where(*_ONE_STUDY)
_ACCEPTED = select(
    STUDIES.c.site, STUDIES.c.study_id, STUDIES.c.batch_id, STUDIES.c.label, STUDIES.c.accepted_at_s
).where(*_ONE_STUDY)
_IMAGES = select(*rows.SOURCE_COLUMNS).where(IMAGES.c.study_id == bindparam("id")).order_by(IMAGES.c.number)
_EVENTS = (
    select(EVENTS.c.at_s, EVENTS.c.what, EVENTS.c.detail)
    .where(EVENTS.c.study_id == bindparam("id"))
    .order_by(EVENTS.c.event_id)
)
_BATCH = select(BATCHES).where(BATCHES.c.batch_id == bindparam("id"), BATCHES.c.site == bindparam("of"))
_COUNTS = (
    select(STUDIES.c.state, func.count())
    .where(STUDIES.c.site == bindparam("of"), STUDIES.c.batch_id == bindparam("id"))
    .group_by(STUDIES.c.state)
)
_REJECTIONS = (
    select(REJECTIONS.c.file_name, REJECTIONS.c.code, REJECTIONS.c.detail)
    .where(REJECTIONS.c.batch_id == bindparam("id"), REJECTIONS.c.code != SKIPPED)
    .order_by(REJECTIONS.c.number)
)
_SKIPPED = (
    select(REJECTIONS.c.detail, func.count().label("files"))
    .where(REJECTIONS.c.batch_id == bindparam("id"), REJECTIONS.c.code == SKIPPED)
    .group_by(REJECTIONS.c.detail)
)


def study(connection: Connection, study_id: str, *, site: str) -> StudyRow | None:
    """One row of the worklist."""
    row = connection.execute(_STUDY, {"id": study_id, "of": site}).one_or_none()
    return None if row is None else rows.study_row_of(row)


def sources(connection: Connection, study_id: str, *, site: str) -> Study | None:
    """What was accepted."""
    row = connection.execute(_ACCEPTED, {"id": study_id, "of": site}).one_or_none()
    return None if row is None else rows.study_of(row, connection.execute(_IMAGES, {"id": study_id}))


def batch(connection: Connection, batch_id: str, *, site: str) -> BatchRow | None:
    """One batch with its counts, which are read after its state: what is unpacked is all there to be counted."""
    which = {"id": batch_id, "of": site}
    row = connection.execute(_BATCH, which).one_or_none()
    if row is None:
        return None
    skipped = connection.execute(_SKIPPED, which).all()
    return BatchRow(
        site=row.site,
        batch_id=row.batch_id,
        label=row.label,
        state=WorkState(row.state),
        accepted_at_s=row.accepted_at_s,
        upload_count=row.upload_count,
        counts={WorkState(state): count for state, count in connection.execute(_COUNTS, which)},
        rejected_uploads=tuple(
            (rejected.file_name, Reason(rejected.code, rejected.detail))
            for rejected in connection.execute(_REJECTIONS, {"id": batch_id})
        ),
        reasons=rows.reasons_of(row.reasons),
        skipped={row.detail: row.files for row in sorted(skipped, key=lambda row: (-row.files, row.detail))},
    )


def history(connection: Connection, study_id: str, *, site: str) -> list[Event]:
    """What was done when; that it was accepted stands in the study's own row."""
    row = connection.execute(_ACCEPTED, {"id": study_id, "of": site}).one_or_none()
    if row is None:
        return []
    events = connection.execute(_EVENTS, {"id": study_id})
    return [Event(row.accepted_at_s, "accepted"), *(Event(*event) for event in events)]
