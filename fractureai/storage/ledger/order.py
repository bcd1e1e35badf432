"""In which order open work is published, and who publishes it.

Walk-ins go first, in the order they came. Bulk work takes turns: the studies of a batch get consecutive turns from the
turn that is being published when the batch comes in, and the lowest turn is published next. So a batch of ten that
comes after one of ten thousand is done after twenty studies, not after ten thousand (start-time fair queuing, Goyal
1996, with equal weights).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, func, literal_column, or_, select, update

from fractureai.domain.records import Due, Priority
from fractureai.domain.study import Stage
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import BATCHES, LEADERS, STUDIES, TURNS

# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_OPEN = STUDIES.c.state == literal_column("'open'")
_BATCH_OPEN = BATCHES.c.state == literal_column("'open'")
_FREE = or_(STUDIES.c.lease_until_s.is_(None), STUDIES.c.lease_until_s <= bindparam("now"))
_BULK = "bulk"

# A lease, and a wait, end when the study is due, so what is due is free.
_DUE = (
    select(STUDIES.c.study_id, STUDIES.c.stage, STUDIES.c.priority)
    .where(_OPEN, STUDIES.c.publish_due_at_s <= bindparam("now"))
    .order_by(STUDIES.c.priority, STUDIES.c.turn, STUDIES.c.study_id)
    .limit(bindparam("most"))
)
_LISTS = [(stage, priority) for stage in Stage for priority in Priority]
_LOST = (
    select(STUDIES.c.study_id, STUDIES.c.stage, STUDIES.c.priority)
    .where(
        _OPEN,
        STUDIES.c.publish_due_at_s > bindparam("now"),
        STUDIES.c.publish_due_at_s <= bindparam("at_most"),
        _FREE,
        or_(
            *(
                and_(
                    STUDIES.c.stage == stage.value,
                    STUDIES.c.priority == priority.value,
                    STUDIES.c.publish_due_at_s <= bindparam(f"{stage.value}_{priority.value}"),
                )
                for stage, priority in _LISTS
            )
        ),
    )
    .order_by(STUDIES.c.publish_due_at_s, STUDIES.c.accepted_at_s, STUDIES.c.study_id)
    .limit(bindparam("most"))
)
_TURN = select(TURNS.c.turn).where(TURNS.c.name == _BULK)
_HIGHEST = select(func.max(STUDIES.c.turn)).where(
    STUDIES.c.study_id.in_(bindparam("ids", expanding=True)), STUDIES.c.priority == Priority.BULK.value
)
_COME_TO = (
    update(TURNS).where(TURNS.c.name == _BULK, TURNS.c.turn < bindparam("reached")).values(turn=bindparam("reached"))
)
_RENEW_LEADER = (
    update(LEADERS)
    .where(
        LEADERS.c.name == bindparam("of"),
        or_(
            LEADERS.c.owner == bindparam("me"),
            LEADERS.c.until_s <= bindparam("now"),
            # Nobody leads for so long: a clock was set back.
            LEADERS.c.until_s > bindparam("too_long"),
        ),
    )
    .values(owner=bindparam("me"), until_s=bindparam("until"))
)
_RESIGN = delete(LEADERS).where(LEADERS.c.name == bindparam("of"), LEADERS.c.owner == bindparam("me"))
_FAR_AWAY = (
    update(STUDIES)
    .where(_OPEN, STUDIES.c.publish_due_at_s > bindparam("beyond"))
    .values(publish_due_at_s=bindparam("now"), lease_until_s=None, lease_owner=None)
)
_FAR_AWAY_BATCHES = (
    update(BATCHES)
    .where(_BATCH_OPEN, BATCHES.c.publish_due_at_s > bindparam("beyond"))
    .values(publish_due_at_s=bindparam("now"), lease_until_s=None, lease_owner=None)
)
_AT_ONCE = (
    update(STUDIES)
    .where(_OPEN, or_(_FREE, STUDIES.c.lease_owner.is_(None)))
    .values(publish_due_at_s=bindparam("now"), lease_until_s=None)
)
_BATCHES_AT_ONCE = (
    update(BATCHES)
    .where(
        _BATCH_OPEN,
        or_(
            BATCHES.c.lease_until_s.is_(None),
            BATCHES.c.lease_until_s <= bindparam("now"),
            BATCHES.c.lease_owner.is_(None),
        ),
    )
    .values(publish_due_at_s=bindparam("now"), lease_until_s=None)
)


def due(connection: Connection, *, now_s: float, limit: int) -> list[Due]:
    """Open studies whose time has come, in the order they should be published in."""
    found = connection.execute(_DUE, {"now": now_s, "most": limit})
    return [Due(row.study_id, Stage(row.stage), Priority(row.priority)) for row in found]


def lost(
    connection: Connection, *, now_s: float, due_before_s: Mapping[tuple[Stage, Priority], float], limit: int
) -> list[Due]:
    """Studies that were published, are not leased, and should have been taken by now."""
    bounds = {f"{stage.value}_{priority.value}": due_before_s[stage, priority] for stage, priority in _LISTS}
    found = connection.execute(_LOST, {"now": now_s, "at_most": max(bounds.values()), "most": limit, **bounds})
    return [Due(row.study_id, Stage(row.stage), Priority(row.priority)) for row in found]


def next_turn(connection: Connection) -> int:
    """The turn a batch that comes in now begins with."""
    return int(connection.execute(_TURN).scalar_one_or_none() or 0) + 1


def came_to(connection: Connection, study_ids: Sequence[str]) -> None:
    """These are published; what comes in from now on does not go before them."""
    highest = connection.execute(_HIGHEST, {"ids": list(study_ids)}).scalar()
    if highest:
        insert_new(connection, TURNS, {"name": _BULK, "turn": 0})
        connection.execute(_COME_TO, {"reached": highest})


class OrderMethods:
    """Who publishes, and in which order, as methods of the ledger."""

    _connections: Connections

    def due_studies(self, *, now_s: float, limit: int) -> list[Due]:
        """Open studies, not leased, whose time has come: walk-ins first, then bulk by turns."""
        with self._connections.read() as connection:
            return due(connection, now_s=now_s, limit=limit)

    def lost_studies(
        self, *, now_s: float, due_before_s: Mapping[tuple[Stage, Priority], float], limit: int
    ) -> list[Due]:
        """Studies that wait for their turn in no list any more."""
        with self._connections.read() as connection:
            return lost(connection, now_s=now_s, due_before_s=due_before_s, limit=limit)

    def lead(self, name: str, owner: str, *, now_s: float, lease_s: float) -> bool:
        """Take or keep the lead; ``False`` if somebody else has it."""
        values = {"of": name, "me": owner, "now": now_s, "until": now_s + lease_s, "too_long": now_s + 2 * lease_s}
        with self._connections.write(durable=False) as connection:
            if connection.execute(_RENEW_LEADER, values).rowcount == 1:
                return True
            return insert_new(connection, LEADERS, {"name": name, "owner": owner, "until_s": now_s + lease_s})

    def resign(self, name: str, owner: str) -> None:
        """Give the lead back, if it is held."""
        with self._connections.write(durable=False) as connection:
            connection.execute(_RESIGN, {"of": name, "me": owner})

    def pull_forward(self, *, now_s: float, beyond_s: float) -> int:
        """Make due now what is put off beyond any wait there is: a clock was set back. Returns how many."""
        values = {"now": now_s, "beyond": beyond_s}
        with self._connections.write(durable=False) as connection:
            studies = connection.execute(_FAR_AWAY, values).rowcount
            return studies + connection.execute(_FAR_AWAY_BATCHES, values).rowcount

    def make_due(self, *, now_s: float) -> int:
        """Make due now everything open that no worker holds, waits included. Returns how many."""
        with self._connections.write(durable=False) as connection:
            studies = connection.execute(_AT_ONCE, {"now": now_s}).rowcount
            return studies + connection.execute(_BATCHES_AT_ONCE, {"now": now_s}).rowcount
