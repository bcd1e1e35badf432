"""Examinations that come in image by image, until they are studies.

Whoever changes an examination locks its row first, so that an image that arrives while a revision is made is either in
that revision or makes the next one due, and never forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, delete, exists, insert, literal_column, or_, select, update

from fractureai.domain.examinations import Arrival, Closing, Quiet, Revision
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.dicom_tables import EXAMINATIONS, INSTANCES, REVISIONS
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import BATCHES, STUDIES

_WAITING, _CLOSING, _SETTLED = "waiting", "closing", "settled"
# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_UNSETTLED = EXAMINATIONS.c.state != literal_column("'settled'")
_THIS = EXAMINATIONS.c.examination_id == bindparam("id")

_LOCK = (
    update(EXAMINATIONS)
    .where(_THIS)
    .values(last_arrival_s=EXAMINATIONS.c.last_arrival_s)
    .returning(
        EXAMINATIONS.c.state,
        EXAMINATIONS.c.opened_at_s,
        EXAMINATIONS.c.last_arrival_s,
        EXAMINATIONS.c.due_at_s,
        EXAMINATIONS.c.kept,
    )
)
_TOUCH = (
    update(EXAMINATIONS)
    .where(_THIS)
    .values(
        state=bindparam("now_is"),
        opened_at_s=bindparam("opened"),
        last_arrival_s=bindparam("now"),
        due_at_s=bindparam("due"),
        kept=1,
    )
)
_DUE = (
    select(EXAMINATIONS.c.examination_id)
    .where(_UNSETTLED, EXAMINATIONS.c.due_at_s <= bindparam("now"))
    .order_by(EXAMINATIONS.c.due_at_s, EXAMINATIONS.c.examination_id)
    .limit(bindparam("most"))
)
_CLAIM = (
    update(EXAMINATIONS)
    .where(_THIS, _UNSETTLED, EXAMINATIONS.c.due_at_s <= bindparam("now"))
    .values(due_at_s=bindparam("until"))
    .returning(EXAMINATIONS.c.site, EXAMINATIONS.c.state, EXAMINATIONS.c.revision, EXAMINATIONS.c.base_revision)
)
_BEGIN = update(EXAMINATIONS).where(_THIS).values(state=_CLOSING, revision=bindparam("number"))
_ASSIGN = (
    update(INSTANCES)
    .where(INSTANCES.c.examination_id == bindparam("id"), INSTANCES.c.revision.is_(None))
    .values(revision=bindparam("number"))
)
_REVISION = select(REVISIONS).where(
    REVISIONS.c.examination_id == bindparam("id"), REVISIONS.c.number == bindparam("number")
)
_NEWEST = (
    select(REVISIONS.c.study_id, REVISIONS.c.number)
    .where(REVISIONS.c.examination_id == bindparam("id"), REVISIONS.c.number < bindparam("number"))
    .order_by(REVISIONS.c.number.desc())
    .limit(1)
)
_IMAGES = (
    select(
        INSTANCES.c.site,
        INSTANCES.c.examination_id,
        INSTANCES.c.instance_id,
        INSTANCES.c.arrival_id,
        INSTANCES.c.size_bytes,
        INSTANCES.c.sha256,
        INSTANCES.c.modality,
        INSTANCES.c.caller,
        INSTANCES.c.received_at_s,
    )
    .where(
        INSTANCES.c.examination_id == bindparam("id"),
        INSTANCES.c.revision > bindparam("above"),
        INSTANCES.c.revision <= bindparam("number"),
    )
    .order_by(INSTANCES.c.received_at_s, INSTANCES.c.instance_id)
)
_ARRIVED_AS = select(INSTANCES.c.arrival_id).where(INSTANCES.c.instance_id == bindparam("instance"))
_LATE = exists().where(INSTANCES.c.examination_id == bindparam("id"), INSTANCES.c.revision.is_(None))
_CLOSED = (
    update(EXAMINATIONS)
    .where(_THIS, EXAMINATIONS.c.state == _CLOSING, EXAMINATIONS.c.revision == bindparam("number"))
    .values(
        state=case((_LATE, _WAITING), else_=_SETTLED),
        due_at_s=bindparam("due"),
        opened_at_s=bindparam("now"),
    )
)
_NEWER = REVISIONS.alias("newer")
_PLACE = (
    select(REVISIONS.c.number, REVISIONS.c.supersedes, _NEWER.c.study_id.label("superseded_by"))
    .outerjoin(_NEWER, _NEWER.c.supersedes == REVISIONS.c.study_id)
    .where(REVISIONS.c.study_id == bindparam("study"), REVISIONS.c.site == bindparam("of"))
)
_STALE = (
    select(EXAMINATIONS.c.examination_id)
    .where(
        EXAMINATIONS.c.kept == literal_column("1"),
        EXAMINATIONS.c.last_arrival_s < bindparam("before"),
        EXAMINATIONS.c.state == _SETTLED,
    )
    .order_by(EXAMINATIONS.c.last_arrival_s, EXAMINATIONS.c.examination_id)
    .limit(bindparam("most"))
)
# A study that was deleted takes what came in for it along; one whose batch is still open is only not there yet.
_ORPHANED = (
    select(REVISIONS.c.examination_id)
    .join(EXAMINATIONS, EXAMINATIONS.c.examination_id == REVISIONS.c.examination_id)
    .where(
        EXAMINATIONS.c.kept == literal_column("1"),
        EXAMINATIONS.c.state == _SETTLED,
        EXAMINATIONS.c.revision == REVISIONS.c.number,
        ~exists().where(STUDIES.c.study_id == REVISIONS.c.study_id),
        ~exists().where(and_(BATCHES.c.batch_id == REVISIONS.c.batch_id, BATCHES.c.state != "done")),
    )
    .limit(bindparam("most"))
)
_KEPT_IMAGES = (
    select(INSTANCES.c.site, INSTANCES.c.arrival_id, INSTANCES.c.received_at_s)
    .join(EXAMINATIONS, EXAMINATIONS.c.examination_id == INSTANCES.c.examination_id)
    .where(INSTANCES.c.examination_id == bindparam("id"), INSTANCES.c.revision > EXAMINATIONS.c.base_revision)
)
_SETTLE = update(EXAMINATIONS).where(_THIS).values(kept=0, base_revision=EXAMINATIONS.c.revision)
_KEPT_NOW = (
    select(INSTANCES.c.arrival_id)
    .join(EXAMINATIONS, EXAMINATIONS.c.examination_id == INSTANCES.c.examination_id)
    .where(
        INSTANCES.c.arrival_id.in_(bindparam("ids", expanding=True)),
        or_(INSTANCES.c.revision.is_(None), INSTANCES.c.revision > EXAMINATIONS.c.base_revision),
    )
)


class ExaminationMethods:
    """Examinations, as methods of the ledger."""

    _connections: Connections

    def instance_arrived(self, arrival: Arrival, quiet: Quiet) -> bool:
        """Record one, durably; ``False``, and nothing recorded, if its instance came before."""
        now = arrival.received_at_s
        with self._connections.write(durable=True) as connection:
            insert_new(connection, EXAMINATIONS, _new_examination(arrival, quiet))
            row = connection.execute(_LOCK, {"id": arrival.examination_id}).one()
            if not insert_new(connection, INSTANCES, _instance_values(arrival)):
                # Unless it is this very arrival, which a rebuilding of the ledger has found before us.
                known = connection.execute(_ARRIVED_AS, {"instance": arrival.instance_id}).scalar_one()
                return bool(known == arrival.arrival_id)
            opened = now if row.state == _SETTLED else row.opened_at_s
            due = row.due_at_s if row.state == _CLOSING else min(now + quiet.after_s, opened + quiet.at_most_s)
            state = _WAITING if row.state == _SETTLED else row.state
            values = {"id": arrival.examination_id, "now_is": state, "opened": opened, "now": now, "due": due}
            connection.execute(_TOUCH, values)
            return True

    def due_examinations(self, *, now_s: float, limit: int) -> list[str]:
        """Examinations that have gone quiet, or whose closing was cut off; longest due first."""
        with self._connections.read() as connection:
            return list(connection.execute(_DUE, {"now": now_s, "most": limit}).scalars())

    def close_examination(
        self, examination_id: str, *, batch_id: str, study_id: str, now_s: float, lease_s: float
    ) -> Closing | None:
        """Fix which images the next revision holds; ``None`` if it is not due or somebody else is at it.

        The ids are used if the revision is new; one whose closing was cut off keeps its own.
        """
        with self._connections.write(durable=True) as connection:
            claim = {"id": examination_id, "now": now_s, "until": now_s + lease_s}
            row = connection.execute(_CLAIM, claim).one_or_none()
            if row is None:
                return None
            number = row.revision
            if row.state == _WAITING:
                number += 1
                connection.execute(_BEGIN, {"id": examination_id, "number": number})
                connection.execute(_ASSIGN, {"id": examination_id, "number": number})
                _add_revision(connection, examination_id, row, number, batch_id, study_id)
            revision = connection.execute(_REVISION, {"id": examination_id, "number": number}).one()
            which = {"id": examination_id, "above": row.base_revision, "number": number}
            images = tuple(Arrival(*image) for image in connection.execute(_IMAGES, which))
            return Closing(
                row.site, examination_id, number, revision.batch_id, revision.study_id, images, revision.supersedes
            )

    def examination_closed(self, closing: Closing, *, now_s: float, quiet: Quiet) -> None:
        """Its study is on its way; images that came meanwhile make the next revision due."""
        with self._connections.write(durable=True) as connection:
            connection.execute(_LOCK, {"id": closing.examination_id})
            which = {"id": closing.examination_id, "number": closing.number}
            connection.execute(_CLOSED, {**which, "now": now_s, "due": now_s + quiet.after_s})

    def revision_of(self, study_id: str, *, site: str) -> Revision | None:
        """The place of a study among those of its examination; ``None`` if it did not come in this way."""
        with self._connections.read() as connection:
            row = connection.execute(_PLACE, {"study": study_id, "of": site}).first()
            return None if row is None else Revision(row.number, row.supersedes, row.superseded_by)

    def stale_examinations(self, *, before_s: float, limit: int) -> list[str]:
        """Examinations to which nothing came since then and whose images are still kept."""
        with self._connections.read() as connection:
            return list(connection.execute(_STALE, {"before": before_s, "most": limit}).scalars())

    def orphaned_examinations(self, *, limit: int) -> list[str]:
        """Examinations whose last study was deleted."""
        with self._connections.read() as connection:
            return list(connection.execute(_ORPHANED, {"most": limit}).scalars())

    def settle_examination(self, examination_id: str, *, before_s: float) -> list[tuple[str, str, float]]:
        """Keep its images no longer: ``(site, arrival_id, received_at_s)`` of what can be deleted from the store.
        Nothing happens if an image has come since then, or the examination is becoming a study.
        """
        with self._connections.write(durable=True) as connection:
            row = connection.execute(_LOCK, {"id": examination_id}).one_or_none()
            if row is None or row.state != _SETTLED or row.last_arrival_s >= before_s:
                return []
            images = [tuple(image) for image in connection.execute(_KEPT_IMAGES, {"id": examination_id})]
            connection.execute(_SETTLE, {"id": examination_id})
            return images

    def forget_examination(self, examination_id: str) -> None:
        """Its study was deleted, and its images: what comes again is new. Nothing happens if it has come already."""
        with self._connections.write(durable=True) as connection:
            gone = {"id": examination_id}
            row = connection.execute(_LOCK, gone).one_or_none()
            if row is None or row.kept:
                return
            connection.execute(delete(INSTANCES).where(INSTANCES.c.examination_id == bindparam("id")), gone)
            connection.execute(delete(REVISIONS).where(REVISIONS.c.examination_id == bindparam("id")), gone)
            connection.execute(delete(EXAMINATIONS).where(_THIS), gone)

    def arrivals_not_kept(self, arrival_ids: Sequence[str]) -> list[str]:
        """Those of the ids that nothing will be made of: a crash left them between store and ledger."""
        with self._connections.read() as connection:
            known = set(connection.execute(_KEPT_NOW, {"ids": list(arrival_ids)}).scalars())
            return [arrival_id for arrival_id in arrival_ids if arrival_id not in known]


def _new_examination(arrival: Arrival, quiet: Quiet) -> dict[str, Any]:
    now = arrival.received_at_s
    return {
        "examination_id": arrival.examination_id,
        "site": arrival.site,
        "state": _WAITING,
        "revision": 0,
        "base_revision": 0,
        "opened_at_s": now,
        "last_arrival_s": now,
        "due_at_s": now + quiet.after_s,
        "kept": 1,
    }


def _instance_values(arrival: Arrival) -> dict[str, Any]:
    return {
        "instance_id": arrival.instance_id,
        "examination_id": arrival.examination_id,
        "site": arrival.site,
        "arrival_id": arrival.arrival_id,
        "size_bytes": arrival.size_bytes,
        "sha256": arrival.sha256,
        "modality": arrival.modality,
        "caller": arrival.caller,
        "received_at_s": arrival.received_at_s,
        "revision": None,
    }


def _add_revision(
    connection: Connection, examination_id: str, row: Any, number: int, batch_id: str, study_id: str
) -> None:
    earlier = connection.execute(_NEWEST, {"id": examination_id, "number": number}).one_or_none()
    connection.execute(
        insert(REVISIONS),
        {
            "study_id": study_id,
            "examination_id": examination_id,
            "site": row.site,
            "number": number,
            "batch_id": batch_id,
            # Only a study of the earlier images too stands in the place of the earlier study.
            "supersedes": earlier.study_id if earlier is not None and row.base_revision < earlier.number else None,
        },
    )
