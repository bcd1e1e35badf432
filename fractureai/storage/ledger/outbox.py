"""The news of finished studies, until somebody took it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, literal_column, or_, select, update

from fractureai.domain.records import Delivery, DeliveryState
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.schema import DELIVERIES, EVENTS

_ROW = [DELIVERIES.c[field.name] for field in dataclasses.fields(Delivery)]
# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_OPEN = DELIVERIES.c.state == literal_column("'open'")
_UNDELIVERED = DELIVERIES.c.state != literal_column("'delivered'")
_FREE = or_(DELIVERIES.c.lease_until_s.is_(None), DELIVERIES.c.lease_until_s <= bindparam("now"))
_ADD = insert(DELIVERIES)
_NOTE = insert(EVENTS)
_DUE = (
    select(DELIVERIES.c.delivery_id)
    .where(_OPEN, DELIVERIES.c.due_at_s <= bindparam("now"))
    .order_by(DELIVERIES.c.due_at_s, DELIVERIES.c.delivery_id)
    .limit(bindparam("most"))
)
_PUBLISHED = (
    update(DELIVERIES)
    .where(DELIVERIES.c.delivery_id.in_(bindparam("ids", expanding=True)), _OPEN)
    .values(due_at_s=bindparam("due"))
)
_CLAIM = (
    update(DELIVERIES)
    .where(DELIVERIES.c.delivery_id == bindparam("id"), _OPEN, _FREE)
    .values(attempts=DELIVERIES.c.attempts + 1, lease_until_s=bindparam("until"), due_at_s=bindparam("until"))
    .returning(*_ROW)
)
_CLOSE = (
    update(DELIVERIES)
    .where(
        and_(
            DELIVERIES.c.delivery_id == bindparam("id"),
            _OPEN,
            DELIVERIES.c.attempts == bindparam("attempt"),
        )
    )
    .values(state=bindparam("closed_as"), due_at_s=bindparam("due"), last_error=bindparam("error"), lease_until_s=None)
)
_LIST = (
    select(*_ROW)
    .where(DELIVERIES.c.site == bindparam("of"), _UNDELIVERED)
    .order_by(DELIVERIES.c.created_at_s.desc(), DELIVERIES.c.delivery_id.desc())
    .limit(bindparam("most"))
)
_AGAIN = (
    update(DELIVERIES)
    .where(
        DELIVERIES.c.delivery_id == bindparam("id"),
        DELIVERIES.c.site == bindparam("of"),
        DELIVERIES.c.state == "given_up",
    )
    .values(state="open", attempts=0, due_at_s=bindparam("now"), lease_until_s=None)
)


def add(connection: Connection, study_id: str, *, site: str, number: int, now_s: float) -> None:
    """One delivery for the finish that has this place, due at once."""
    connection.execute(
        _ADD,
        {
            "delivery_id": f"{study_id}-{number}",
            "site": site,
            "study_id": study_id,
            "state": DeliveryState.OPEN.value,
            "attempts": 0,
            "created_at_s": now_s,
            "due_at_s": now_s,
            "last_error": "",
        },
    )


class OutboxMethods:
    """Deliveries, as methods of the ledger."""

    _connections: Connections

    def due_deliveries(self, *, now_s: float, limit: int) -> list[str]:
        """Deliveries whose time has come, longest due first."""
        with self._connections.read() as connection:
            return list(connection.execute(_DUE, {"now": now_s, "most": limit}).scalars())

    def published_deliveries(self, delivery_ids: Sequence[str], *, due_again_at_s: float) -> None:
        """Messages were sent; look again then."""
        if delivery_ids:
            with self._connections.write(durable=False) as connection:
                connection.execute(_PUBLISHED, {"ids": list(delivery_ids), "due": due_again_at_s})

    def claim_delivery(self, delivery_id: str, *, now_s: float, lease_s: float) -> Delivery | None:
        """Lease it, counting the attempt; ``None`` if it is over, or somebody else holds it."""
        with self._connections.write(durable=False) as connection:
            lease = {"id": delivery_id, "now": now_s, "until": now_s + lease_s}
            row = connection.execute(_CLAIM, lease).one_or_none()
            return None if row is None else _delivery_of(row)

    def delivered(self, delivery: Delivery, *, now_s: float) -> None:
        """It was taken."""
        self._close(delivery, DeliveryState.DELIVERED, "", due_at_s=now_s)

    def postpone_delivery(self, delivery: Delivery, error: str, *, due_at_s: float) -> None:
        """It was not taken; try again then."""
        self._close(delivery, DeliveryState.OPEN, error, due_at_s=due_at_s)

    def give_up_delivery(self, delivery: Delivery, error: str, *, now_s: float) -> None:
        """It was not taken, and will not be tried again of itself."""
        self._close(delivery, DeliveryState.GIVEN_UP, error, due_at_s=now_s)

    def undelivered(self, *, site: str, limit: int) -> list[Delivery]:
        """Deliveries that are not over or were given up, the newest first."""
        with self._connections.read() as connection:
            return [_delivery_of(row) for row in connection.execute(_LIST, {"of": site, "most": limit})]

    def retry_delivery(self, delivery_id: str, *, site: str, now_s: float) -> bool:
        """A person wants one tried again, with a fresh count; ``False`` unless it was given up."""
        with self._connections.write(durable=True) as connection:
            return connection.execute(_AGAIN, {"id": delivery_id, "of": site, "now": now_s}).rowcount == 1

    def _close(self, delivery: Delivery, state: DeliveryState, error: str, *, due_at_s: float) -> None:
        held = {"id": delivery.delivery_id, "attempt": delivery.attempts}
        with self._connections.write(durable=False) as connection:
            closing = {"closed_as": state.value, "error": error, "due": due_at_s}
            if connection.execute(_CLOSE, {**held, **closing}).rowcount == 1 and state is not DeliveryState.OPEN:
                note = {"study_id": delivery.study_id, "at_s": due_at_s, "detail": error}
                what = "told" if state is DeliveryState.DELIVERED else "not told"
                connection.execute(_NOTE, {**note, "what": what})


def _delivery_of(row: Any) -> Delivery:
    values = row._asdict()
    values["state"] = DeliveryState(row.state)
    return Delivery(**values)
