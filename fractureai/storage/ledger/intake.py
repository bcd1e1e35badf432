"""How work comes into the ledger: batches, their unpacking, and studies."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, func, insert, literal_column, or_, select, update

from fractureai import tracing
from fractureai.domain.reasons import Reason
from fractureai.domain.records import BatchClaim, DueBatch, Priority
from fractureai.domain.study import Batch, Study, WorkState
from fractureai.storage.ledger import order, rows
from fractureai.storage.ledger.inserts import insert_missing, insert_new
from fractureai.storage.ledger.schema import BATCHES, EVENTS, IMAGES, REJECTIONS, STUDIES, UPLOADS, WORDS

# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_OPEN = BATCHES.c.state == literal_column("'open'")
_FREE = or_(BATCHES.c.lease_until_s.is_(None), BATCHES.c.lease_until_s <= bindparam("now"))

_HELD = and_(
    BATCHES.c.batch_id == bindparam("id"),
    _OPEN,
    BATCHES.c.lease_owner == bindparam("owner"),
    BATCHES.c.attempts == bindparam("attempt"),
)
_CLAIM = (
    update(BATCHES)
    .where(
        BATCHES.c.batch_id == bindparam("id"),
        _OPEN,
        _FREE,
    )
    .values(
        attempts=BATCHES.c.attempts + 1,
        lease_owner=bindparam("owner"),
        lease_until_s=bindparam("until"),
        publish_due_at_s=bindparam("until"),
        updated_at_s=bindparam("now"),
    )
    .returning(
        BATCHES.c.site,
        BATCHES.c.batch_id,
        BATCHES.c.label,
        BATCHES.c.accepted_at_s,
        BATCHES.c.attempts,
        BATCHES.c.grouping,
        BATCHES.c.setbacks,
        BATCHES.c.troubled_since_s,
    )
)
_CLOSE = (
    update(BATCHES)
    .where(_HELD)
    .values(
        state=bindparam("closed_as"),
        reasons=bindparam("why"),
        lease_owner=None,
        lease_until_s=None,
        updated_at_s=bindparam("now"),
    )
)
_GIVE_BACK = (
    update(BATCHES)
    .where(_HELD)
    .values(lease_owner=None, lease_until_s=bindparam("due"), publish_due_at_s=bindparam("due"))
)
_PUT_OFF = _GIVE_BACK.values(
    attempts=BATCHES.c.attempts - 1,
    setbacks=BATCHES.c.setbacks + 1,
    troubled_since_s=func.coalesce(BATCHES.c.troubled_since_s, bindparam("now")),
)
_RENEW = update(BATCHES).where(_HELD).values(lease_until_s=bindparam("until"), publish_due_at_s=bindparam("until"))
_REOPEN = (
    update(BATCHES)
    .where(BATCHES.c.batch_id == bindparam("id"), BATCHES.c.site == bindparam("of"), BATCHES.c.state == "failed")
    .values(
        state="open",
        attempts=0,
        setbacks=0,
        troubled_since_s=None,
        reasons="[]",
        publish_due_at_s=bindparam("now"),
        updated_at_s=bindparam("now"),
    )
)
_PUBLISHED = (
    update(BATCHES)
    .where(BATCHES.c.batch_id == bindparam("id"), _OPEN, _FREE, BATCHES.c.publish_due_at_s < bindparam("due"))
    .values(publish_due_at_s=bindparam("due"))
)
_DUE = (
    select(BATCHES.c.batch_id, BATCHES.c.upload_count)
    .where(_OPEN, BATCHES.c.publish_due_at_s <= bindparam("due_before"), _FREE)
    .order_by(BATCHES.c.publish_due_at_s, BATCHES.c.batch_id)
    .limit(bindparam("most"))
)
_EVENT = insert(EVENTS)
_UPLOADS = (
    select(UPLOADS.c.number, UPLOADS.c.file_name, UPLOADS.c.size_bytes, UPLOADS.c.sha256)
    .where(UPLOADS.c.batch_id == bindparam("id"))
    .order_by(UPLOADS.c.number)
)


def accept_batch(connection: Connection, batch: Batch, *, publish_due_at_s: float) -> None:
    """Record a batch to be unpacked, if it is new."""
    if insert_new(connection, BATCHES, rows.batch_values(batch, WorkState.OPEN, publish_due_at_s=publish_due_at_s)):
        insert_missing(connection, UPLOADS, rows.upload_values(batch))


def accept_study(connection: Connection, study: Study, *, publish_due_at_s: float) -> bool:
    """Record a study, if it is new, and its batch as one with nothing to unpack, if that is new."""
    batch = Batch(study.site, study.batch_id, study.label, study.accepted_at_s, ())
    values = rows.batch_values(batch, WorkState.DONE, publish_due_at_s=publish_due_at_s)
    insert_new(connection, BATCHES, {**values, "upload_count": len(study.images)})
    if not insert_new(connection, STUDIES, rows.study_values(study, publish_due_at_s=publish_due_at_s)):
        return False
    insert_missing(connection, IMAGES, rows.image_values(study))
    insert_missing(connection, WORDS, rows.word_values(study))
    _note_request(connection, [study])
    return True


def claim_batch(
    connection: Connection, batch_id: str, *, owner: str, now_s: float, lease_s: float
) -> BatchClaim | None:
    """Lease the unpacking by compare-and-set."""
    lease = {"id": batch_id, "owner": owner, "now": now_s, "until": now_s + lease_s}
    row = connection.execute(_CLAIM, lease).one_or_none()
    if row is None:
        return None
    batch = rows.batch_of(row, connection.execute(_UPLOADS, {"id": batch_id}))
    return BatchClaim(batch, owner, row.attempts, row.setbacks, row.troubled_since_s)


def renew(connection: Connection, claim: BatchClaim, *, until_s: float) -> bool:
    """Hold the lease longer; ``False`` if it is not ours any more."""
    return connection.execute(_RENEW, {**_lease(claim), "until": until_s}).rowcount == 1


def close_batch(
    connection: Connection, claim: BatchClaim, state: WorkState, *, reasons: Sequence[Reason] = (), now_s: float
) -> bool:
    """End the unpacking, if the lease is still held."""
    closing = {"closed_as": state.value, "why": rows.reasons_text(reasons), "now": now_s}
    return connection.execute(_CLOSE, {**_lease(claim), **closing}).rowcount == 1


def add_unpacked(
    connection: Connection,
    claim: BatchClaim,
    studies: Sequence[Study],
    rejected: Sequence[tuple[str, Reason]],
    due_s: float,
    priority: Priority,
) -> None:
    """Record what a batch turned out to hold."""
    first = order.next_turn(connection)
    turns = [None if priority is Priority.WALK_IN else first + number for number in range(len(studies))]
    values = [
        rows.study_values(study, publish_due_at_s=due_s, priority=priority, turn=turn)
        for study, turn in zip(studies, turns, strict=True)
    ]
    insert_missing(connection, STUDIES, values)
    insert_missing(connection, IMAGES, [image for study in studies for image in rows.image_values(study)])
    insert_missing(connection, WORDS, [word for study in studies for word in rows.word_values(study)])
    insert_missing(connection, REJECTIONS, rows.rejection_values(claim.batch.batch_id, rejected))
    _note_request(connection, studies)


def give_back(connection: Connection, claim: BatchClaim, *, now_s: float, due_at_s: float, counts: bool) -> bool:
    """Give the lease back; nobody can take it before ``due_at_s``. ``counts``: whether it was one of the attempts."""
    if counts:
        return connection.execute(_GIVE_BACK, {**_lease(claim), "due": due_at_s}).rowcount == 1
    return connection.execute(_PUT_OFF, {**_lease(claim), "now": now_s, "due": due_at_s}).rowcount == 1


def due(connection: Connection, *, now_s: float, due_before_s: float, limit: int) -> list[DueBatch]:
    """Batches whose unpacking should be in the queue."""
    found = connection.execute(_DUE, {"now": now_s, "due_before": due_before_s, "most": limit})
    return [DueBatch(row.batch_id, row.upload_count) for row in found]


def published(connection: Connection, batch_id: str, *, now_s: float, due_again_at_s: float) -> None:
    """Look again later, never earlier than was said before. What is leased by now keeps its own time."""
    connection.execute(_PUBLISHED, {"id": batch_id, "now": now_s, "due": due_again_at_s})


def reopen(connection: Connection, batch_id: str, *, site: str, now_s: float) -> bool:
    """Open an unpacking that failed, with a fresh count."""
    return connection.execute(_REOPEN, {"id": batch_id, "of": site, "now": now_s}).rowcount == 1


def _note_request(connection: Connection, studies: Sequence[Study]) -> None:
    """The request that brought a study, in the study's history: with its id the sender's log and ours meet."""
    request_id = tracing.request_id()
    if request_id and studies:
        lines = [
            {"study_id": study.study_id, "at_s": study.accepted_at_s, "what": "requested", "detail": request_id}
            for study in studies
        ]
        connection.execute(_EVENT, lines)


def _lease(claim: BatchClaim) -> dict[str, object]:
    return {"id": claim.batch.batch_id, "owner": claim.owner, "attempt": claim.attempt}
