"""Holds, and forgetting, as methods of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, or_, select, update

from fractureai.domain.retention import Forgotten, Hold, HoldKind
from fractureai.storage.ledger.audit_tables import HOLDS
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.dicom_tables import EXAMINATIONS, INSTANCES, REVISIONS
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import BATCHES, DELIVERIES, METADATA, STUDIES

_OPEN = "open"


class ForgettingMethods:
    """Holds, and forgetting, as methods of the ledger."""

    _connections: Connections

    def add_hold(self, hold: Hold) -> bool:
        """Put a hold on something; ``False`` if there is one."""
        values = {"site": hold.site, "kind": hold.kind.value, "subject": hold.subject}
        with self._connections.write(durable=True) as connection:
            return insert_new(connection, HOLDS, {**values, "reason": hold.reason, "at_s": hold.at_s})

    def release_hold(self, site: str, kind: HoldKind, subject: str) -> bool:
        """Take it off; ``False`` if there is none."""
        this = (HOLDS.c.site == site, HOLDS.c.kind == kind.value, HOLDS.c.subject == subject)
        with self._connections.write(durable=True) as connection:
            return connection.execute(delete(HOLDS).where(*this)).rowcount == 1

    def holds(self, site: str) -> list[Hold]:
        """All holds of a site, the oldest first."""
        with self._connections.read() as connection:
            found = connection.execute(select(HOLDS).where(HOLDS.c.site == site).order_by(HOLDS.c.at_s))
            return [Hold(row.site, HoldKind(row.kind), row.subject, row.reason, row.at_s) for row in found]

    def final_before(
        self, site: str, *, before_s: float, after: tuple[float, str] = (0.0, ""), limit: int = 200
    ) -> Sequence[tuple[float, str]]:
        """``(accepted_at_s, study_id)`` of final studies accepted before then, the oldest first."""
        moment, ident = STUDIES.c.accepted_at_s, STUDIES.c.study_id
        beyond = or_(moment > after[0], (moment == after[0]) & (ident > after[1]))
        query = (
            select(moment, ident)
            .where(STUDIES.c.site == site, moment < before_s, moment >= after[0], beyond, STUDIES.c.state != _OPEN)
            .order_by(moment, ident)
            .limit(limit)
        )
        with self._connections.read() as connection:
            return [(row.accepted_at_s, row.study_id) for row in connection.execute(query)]

    def empty_batches(self, site: str, *, before_s: float, limit: int = 200) -> Sequence[str]:
        """Batches accepted before then and unpacked, of which there is no study, the oldest first."""
        has_study = exists().where(STUDIES.c.batch_id == BATCHES.c.batch_id)
        query = (
            select(BATCHES.c.batch_id)
            .where(BATCHES.c.site == site, BATCHES.c.accepted_at_s < before_s, BATCHES.c.state != _OPEN, ~has_study)
            .order_by(BATCHES.c.accepted_at_s, BATCHES.c.batch_id)
            .limit(limit)
        )
        with self._connections.read() as connection:
            return list(connection.execute(query).scalars())

    def forget_batch(self, batch_id: str, *, site: str) -> bool:
        """Forget such a batch, label and file names with it; ``False`` if it is not there or not such a one."""
        with self._connections.write(durable=True) as connection:
            this = (BATCHES.c.batch_id == batch_id, BATCHES.c.site == site)
            there = connection.execute(select(BATCHES.c.batch_id).where(*this).with_for_update()).one_or_none()
            return there is not None and _forget_batch(connection, batch_id, {}) is not None

    def forget_study(self, study_id: str, *, site: str) -> Forgotten | None:
        """Forget a final study with everything that was said of it; ``None`` if it is not there, or at work."""
        with self._connections.write(durable=True) as connection:
            this = (STUDIES.c.study_id == study_id, STUDIES.c.site == site, STUDIES.c.state != _OPEN)
            row = connection.execute(select(STUDIES.c.batch_id).where(*this).with_for_update()).one_or_none()
            if row is None:
                return None
            revision = connection.execute(select(REVISIONS).where(REVISIONS.c.study_id == study_id)).one_or_none()
            if revision is not None:
                # What was superseded by it is now by the one after it.
                after = update(REVISIONS).where(REVISIONS.c.supersedes == study_id)
                connection.execute(after.values(supersedes=revision.supersedes))
            told = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.study_id == study_id)
            rows: dict[str, int] = {}
            for table in _tables_with("delivery_id", but="study_id"):
                _forget(connection, table, table.c.delivery_id.in_(told), rows)
            for table in _tables_with("study_id"):
                _forget(connection, table, table.c.study_id == study_id, rows)
            batch_id = _forget_batch(connection, row.batch_id, rows)
            arrivals = _forget_images(connection, revision.examination_id, rows) if revision is not None else ()
            return Forgotten(rows, batch_id, arrivals)


def _forget_batch(connection: Connection, batch_id: str, rows: dict[str, int]) -> str | None:
    """Forget the batch too, labels and file names with it, if it is unpacked and no study is left of it."""
    left = connection.execute(select(func.count()).where(STUDIES.c.batch_id == batch_id)).scalar_one()
    state = connection.execute(select(BATCHES.c.state).where(BATCHES.c.batch_id == batch_id)).scalar_one_or_none()
    if left or state in {None, _OPEN}:
        return None
    for table in _tables_with("batch_id", but="study_id"):
        _forget(connection, table, table.c.batch_id == batch_id, rows)
    return batch_id


def _forget_images(connection: Connection, examination: str, rows: dict[str, int]) -> tuple[tuple[str, float], ...]:
    """Forget what came in and is in no study any more, and the examination if nothing is left of it or coming."""
    this = EXAMINATIONS.c.examination_id == examination
    # Locked, so that an image that comes just now is seen, or finds the examination gone.
    state = connection.execute(select(EXAMINATIONS.c.state).where(this).with_for_update()).scalar_one_or_none()
    newest = connection.execute(
        select(func.max(REVISIONS.c.number)).where(REVISIONS.c.examination_id == examination)
    ).scalar_one()
    orphaned = and_(INSTANCES.c.examination_id == examination, INSTANCES.c.revision > (newest or 0))
    found = connection.execute(select(INSTANCES.c.arrival_id, INSTANCES.c.received_at_s).where(orphaned)).all()
    _forget(connection, INSTANCES, orphaned, rows)
    if newest is None and state == "settled":
        _forget(connection, EXAMINATIONS, this, rows)
    return tuple((row.arrival_id, row.received_at_s) for row in found)


def _forget(connection: Connection, table: Table, which: ColumnElement[Any], rows: dict[str, int]) -> None:
    count = connection.execute(delete(table).where(which)).rowcount
    if count:
        rows[table.name] = rows.get(table.name, 0) + count


def _tables_with(column: str, *, but: str | None = None) -> list[Table]:
    """Every table that speaks of it, those that refer to others first: also tables that are added later."""
    found = [table for table in METADATA.sorted_tables if column in table.c and (but is None or but not in table.c)]
    return found[::-1]
