"""Leases on studies by compare-and-set, and what becomes of them.

Every change names the lease it is made under (owner and attempt); if the row no longer carries it, nothing happens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, literal_column, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim, Subscriber
from fractureai.domain.study import Assessment, Stage, WorkState
from fractureai.storage.ledger import finished, order, outbox, rows
from fractureai.storage.ledger.schema import EVENTS, IMAGES, STUDIES

# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_OPEN = STUDIES.c.state == literal_column("'open'")
_FREE = or_(STUDIES.c.lease_until_s.is_(None), STUDIES.c.lease_until_s <= bindparam("now"))
_IDS_A_STATEMENT = 500

_HELD = and_(
    STUDIES.c.study_id == bindparam("id"),
    _OPEN,
    STUDIES.c.stage == bindparam("at"),
    STUDIES.c.lease_owner == bindparam("owner"),
    STUDIES.c.attempts == bindparam("attempt"),
)
_CLAIM = (
    update(STUDIES)
    .where(
        STUDIES.c.study_id == bindparam("id"),
        _OPEN,
        STUDIES.c.stage == bindparam("at"),
        _FREE,
    )
    .values(
        attempts=STUDIES.c.attempts + 1,
        lease_owner=bindparam("owner"),
        lease_until_s=bindparam("until"),
        # The reconciler leaves live work alone until its lease is over.
        publish_due_at_s=bindparam("until"),
        claimed_at_s=bindparam("now"),
        updated_at_s=bindparam("now"),
    )
    .returning(
        STUDIES.c.site,
        STUDIES.c.study_id,
        STUDIES.c.batch_id,
        STUDIES.c.label,
        STUDIES.c.accepted_at_s,
        STUDIES.c.attempts,
        STUDIES.c.setbacks,
        STUDIES.c.troubled_since_s,
    )
)
_FREED: dict[str, Any] = {"lease_owner": None, "lease_until_s": None, "updated_at_s": bindparam("now")}
_OF_LEASE = update(STUDIES).where(_HELD).returning(STUDIES.c.claimed_at_s)
_ADVANCE = _OF_LEASE.values(
    stage=bindparam("next"),
    attempts=0,
    setbacks=0,
    troubled_since_s=None,
    publish_due_at_s=bindparam("due"),
    **_FREED,
)
_RENEW = _OF_LEASE.values(lease_until_s=bindparam("until"), publish_due_at_s=bindparam("until"))
_FINISH = _OF_LEASE.values(
    state=bindparam("ended_as"),
    stage=bindparam("left_at"),
    finished_at_s=bindparam("now"),
    assessment=bindparam("decision"),
    region=bindparam("body_region"),
    max_fracture_probability=bindparam("highest"),
    reasons=bindparam("why"),
    suspicion=bindparam("suspicious"),
    finish_number=bindparam("place"),
    **_FREED,
)
# Nobody's, but closed until it is due: neither an early republishing nor a second message may cut the wait short.
_RETRY = _OF_LEASE.values(**_FREED | {"lease_until_s": bindparam("due"), "publish_due_at_s": bindparam("due")})
# The attempt ended with us alive and something else away: it does not count.
_PUT_OFF = _RETRY.values(
    attempts=STUDIES.c.attempts - 1,
    setbacks=STUDIES.c.setbacks + 1,
    troubled_since_s=func.coalesce(STUDIES.c.troubled_since_s, bindparam("now")),
)
_REOPEN = (
    update(STUDIES)
    .where(STUDIES.c.study_id == bindparam("id"), STUDIES.c.site == bindparam("of"), STUDIES.c.state == "failed")
    .values(
        state="open",
        attempts=0,
        setbacks=0,
        troubled_since_s=None,
        publish_due_at_s=bindparam("now"),
        finished_at_s=None,
        assessment=None,
        region=None,
        max_fracture_probability=None,
        reasons="[]",
        suspicion=0,
        finish_number=None,
        **_FREED,
    )
)
_FAILED_OF_BATCH = select(STUDIES.c.study_id).where(
    STUDIES.c.site == bindparam("of"), STUDIES.c.batch_id == bindparam("batch"), STUDIES.c.state == "failed"
)
_PUBLISHED = (
    update(STUDIES)
    .where(
        STUDIES.c.study_id.in_(bindparam("ids", expanding=True)),
        _OPEN,
        # What a worker took in the meantime, or has put off, is due when that ends.
        _FREE,
        STUDIES.c.publish_due_at_s < bindparam("due"),
    )
    .values(publish_due_at_s=bindparam("due"))
)
_COUNT_OPEN = select(func.count()).select_from(STUDIES).where(_OPEN)
_IMAGES = select(*rows.SOURCE_COLUMNS).where(IMAGES.c.study_id == bindparam("id")).order_by(IMAGES.c.number)
_EVENT = insert(EVENTS)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a study ends."""

    state: WorkState
    assessment: Assessment | None
    region: str | None
    max_fracture_probability: float | None
    reasons: Sequence[Reason]

    def __post_init__(self) -> None:
        if self.state is WorkState.OPEN:
            raise ValueError("open is not an ending")


def claim(
    connection: Connection, study_id: str, stage: Stage, *, owner: str, now_s: float, lease_s: float
) -> Claim | None:
    """Lease one stage, counting the attempt."""
    lease = {"id": study_id, "at": stage.value, "owner": owner, "now": now_s, "until": now_s + lease_s}
    row = connection.execute(_CLAIM, lease).one_or_none()
    if row is None:
        return None
    study = rows.study_of(row, connection.execute(_IMAGES, {"id": study_id}))
    return Claim(study, stage, owner, row.attempts, row.setbacks, row.troubled_since_s)


def renew(connection: Connection, claim: Claim, *, until_s: float) -> bool:
    """Hold the lease longer; ``False`` if it is not ours any more."""
    return connection.execute(_RENEW, {**_lease(claim), "until": until_s}).one_or_none() is not None


def advance(connection: Connection, claim: Claim, *, now_s: float, due_at_s: float) -> bool:
    """The stage is done. The chain itself carries the next one; ``due_at_s`` is when to doubt that."""
    following = claim.stage.following
    if following is None:
        raise ValueError(f"{claim.stage} is the last stage: finish the study")
    values = {"next": following.value, "now": now_s, "due": due_at_s}
    return _under_lease(connection, _ADVANCE, claim, values, (claim.stage.value, ""))


def finish(connection: Connection, claim: Claim, ending: Ending, *, now_s: float, tell: Sequence[Subscriber]) -> bool:
    """Close the study. It remembers the stage it ended at, unless it is done. ``tell``: who wants to know."""
    # Before the study's own row, so that all who finish take the locks in the same order.
    place = finished.next_number(connection, claim.study.site)
    values = {
        "place": place,
        "suspicious": rows.suspicion_of(ending.assessment, ending.max_fracture_probability),
        "ended_as": ending.state.value,
        "left_at": None if ending.state is WorkState.DONE else claim.stage.value,
        "decision": ending.assessment and ending.assessment.value,
        "body_region": ending.region,
        "highest": ending.max_fracture_probability,
        "why": rows.reasons_text(ending.reasons),
        "now": now_s,
    }
    codes = ", ".join(reason.code for reason in ending.reasons)
    if not _under_lease(connection, _FINISH, claim, values, (ending.state.value, codes)):
        return False
    site = claim.study.site
    for subscriber in tell:
        if subscriber.wants(site, ending.state):
            outbox.add(connection, claim.study.study_id, subscriber, site=site, number=place, now_s=now_s)
    return True


def retry(connection: Connection, claim: Claim, reason: Reason, *, now_s: float, due_at_s: float, counts: bool) -> bool:
    """Give the lease back; nobody can take it before ``due_at_s``. ``counts``: whether it was one of the attempts."""
    values = {"now": now_s, "due": due_at_s}
    # A long outage puts a study off hundreds of times; its history tells the 1st, 2nd, 4th, 8th …
    told = counts or (claim.setbacks & (claim.setbacks + 1)) == 0
    event = ("retried", f"{claim.stage}: {reason.code}") if told else None
    return _under_lease(connection, _RETRY if counts else _PUT_OFF, claim, values, event)


def reopen(connection: Connection, study_id: str, *, site: str, now_s: float) -> bool:
    """Open a failed study where it failed, with a fresh count."""
    if connection.execute(_REOPEN, {"id": study_id, "of": site, "now": now_s}).rowcount != 1:
        return False
    _note(connection, study_id, now_s, "reopened", "")
    return True


def reopen_failed(connection: Connection, batch_id: str, *, site: str, now_s: float) -> int:
    """Open the failed studies of a batch; returns how many."""
    failed = connection.execute(_FAILED_OF_BATCH, {"batch": batch_id, "of": site}).scalars().all()
    return sum(reopen(connection, study_id, site=site, now_s=now_s) for study_id in failed)


def published(connection: Connection, study_ids: Iterable[str], *, now_s: float, due_again_at_s: float) -> None:
    """Look again later, never earlier than was said before. What is leased by now keeps its own time."""
    ids = iter(study_ids)
    while some := list(itertools.islice(ids, _IDS_A_STATEMENT)):
        connection.execute(_PUBLISHED, {"ids": some, "now": now_s, "due": due_again_at_s})
        order.came_to(connection, some)


def count_open(connection: Connection) -> int:
    """How many studies are open."""
    return connection.execute(_COUNT_OPEN).scalar_one()


def _under_lease(
    connection: Connection,
    change: ReturningUpdate[Any],
    claim: Claim,
    values: dict[str, Any],
    event: tuple[str, str] | None,
) -> bool:
    row = connection.execute(change, {**_lease(claim), **values}).one_or_none()
    if row is None:
        return False
    if event is None:
        return True
    what, detail = event
    took = f"{max(0.0, values['now'] - row.claimed_at_s):.3f} s"
    _note(connection, claim.study.study_id, values["now"], what, f"{took}, {detail}" if detail else took)
    return True


def _lease(claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.study.study_id,
        "at": claim.stage.value,
        "owner": claim.owner,
        "attempt": claim.attempt,
    }


def _note(connection: Connection, study_id: str, at_s: float, what: str, detail: str) -> None:
    connection.execute(_EVENT, {"study_id": study_id, "at_s": at_s, "what": what, "detail": detail})
