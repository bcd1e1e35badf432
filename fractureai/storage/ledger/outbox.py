"""Finished studies, until those who are to be told of them, or to have their results, took them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, literal_column, or_, select, update

from fractureai.domain.records import (
    Channel,
    DeliveredObject,
    Delivery,
    DeliveryState,
    ObjectState,
    Subscriber,
)
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.dicom_tables import DELIVERY_OBJECTS
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import DELIVERIES, EVENTS, STUDIES

_ROW = [DELIVERIES.c[field.name] for field in dataclasses.fields(Delivery)]
# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_OPEN = DELIVERIES.c.state == literal_column("'open'")
_UNDELIVERED = and_(
    DELIVERIES.c.state != literal_column("'delivered'"), DELIVERIES.c.state != literal_column("'superseded'")
)
_FREE = or_(DELIVERIES.c.lease_until_s.is_(None), DELIVERIES.c.lease_until_s <= bindparam("now"))
_NOTE = insert(EVENTS)
_WHAT = {
    Channel.WEBHOOK: ("told", "not told"),
    Channel.DICOM: ("sent", "not sent"),
    Channel.FHIR: ("posted", "not posted"),
}
_DUE = (
    select(DELIVERIES.c.delivery_id)
    .where(_OPEN, DELIVERIES.c.due_at_s <= bindparam("now"))
    .order_by(DELIVERIES.c.due_at_s, DELIVERIES.c.delivery_id)
    .limit(bindparam("most"))
)
_PUBLISHED = (
    update(DELIVERIES)
    # What a worker took in the meantime, or has put off, is due when that ends.
    .where(
        DELIVERIES.c.delivery_id.in_(bindparam("ids", expanding=True)), _OPEN, DELIVERIES.c.due_at_s <= bindparam("now")
    )
    .values(due_at_s=bindparam("due"))
)
_CLAIM = (
    update(DELIVERIES)
    .where(DELIVERIES.c.delivery_id == bindparam("id"), _OPEN, _FREE)
    .values(attempts=DELIVERIES.c.attempts + 1, lease_until_s=bindparam("until"), due_at_s=bindparam("until"))
    .returning(*_ROW)
)
_HELD = and_(
    DELIVERIES.c.delivery_id == bindparam("id"),
    _OPEN,
    DELIVERIES.c.attempts == bindparam("attempt"),
)
_RENEW = (
    update(DELIVERIES)
    .where(_HELD, DELIVERIES.c.lease_until_s.is_not(None))
    .values(lease_until_s=bindparam("until"), due_at_s=bindparam("until"))
)
_FAR_AWAY = (
    update(DELIVERIES)
    .where(
        _OPEN,
        DELIVERIES.c.due_at_s > bindparam("beyond"),
        or_(
            DELIVERIES.c.attempts == 0,
            DELIVERIES.c.lease_until_s.is_not(None),
            DELIVERIES.c.due_at_s > bindparam("put_off_beyond"),
        ),
    )
    .values(due_at_s=bindparam("now"), lease_until_s=None)
)
_CLOSE = (
    update(DELIVERIES)
    .where(_HELD)
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


_SEND = (
    update(DELIVERIES)
    .where(
        DELIVERIES.c.delivery_id == bindparam("id"),
        or_(DELIVERIES.c.state != "open", _FREE),
    )
    .values(state="open", attempts=0, due_at_s=bindparam("due"), lease_until_s=None, last_error="")
)
_DONE = select(STUDIES.c.finish_number).where(
    STUDIES.c.study_id == bindparam("study"), STUDIES.c.site == bindparam("of"), STUDIES.c.state == "done"
)
_OBJECTS = (
    select(DELIVERY_OBJECTS.c.name, DELIVERY_OBJECTS.c.state, DELIVERY_OBJECTS.c.detail)
    .where(DELIVERY_OBJECTS.c.delivery_id == bindparam("id"))
    .order_by(DELIVERY_OBJECTS.c.name)
)
_NO_OBJECTS = delete(DELIVERY_OBJECTS).where(DELIVERY_OBJECTS.c.delivery_id == bindparam("id"))
_NO_OBJECT = delete(DELIVERY_OBJECTS).where(
    DELIVERY_OBJECTS.c.delivery_id == bindparam("id"), DELIVERY_OBJECTS.c.name == bindparam("called")
)
_NONE_REJECTED = delete(DELIVERY_OBJECTS).where(
    DELIVERY_OBJECTS.c.delivery_id == bindparam("id"), DELIVERY_OBJECTS.c.state == ObjectState.REJECTED.value
)


def add(connection: Connection, study_id: str, subscriber: Subscriber, *, site: str, number: int, now_s: float) -> str:
    """One delivery for the finish that has this place, due at once, if it is not there; returns its id."""
    suffix = f"-{subscriber.destination}" if subscriber.destination else ""
    delivery_id = f"{study_id}-{number}{suffix}"
    insert_new(
        connection,
        DELIVERIES,
        {
            "delivery_id": delivery_id,
            "site": site,
            "study_id": study_id,
            "state": DeliveryState.OPEN.value,
            "attempts": 0,
            "created_at_s": now_s,
            "due_at_s": now_s,
            "last_error": "",
            "channel": subscriber.channel.value,
            "destination": subscriber.destination,
        },
    )
    return delivery_id


class OutboxMethods:
    """Deliveries, as methods of the ledger."""

    _connections: Connections

    def due_deliveries(self, *, now_s: float, limit: int) -> list[str]:
        """Deliveries whose time has come, longest due first."""
        with self._connections.read() as connection:
            return list(connection.execute(_DUE, {"now": now_s, "most": limit}).scalars())

    def published_deliveries(self, delivery_ids: Sequence[str], *, now_s: float, due_again_at_s: float) -> None:
        """Messages were sent for what was due at ``now_s``; look again then."""
        if delivery_ids:
            with self._connections.write(durable=False) as connection:
                connection.execute(_PUBLISHED, {"ids": list(delivery_ids), "now": now_s, "due": due_again_at_s})

    def pull_deliveries_forward(self, *, now_s: float, beyond_s: float, put_off_beyond_s: float) -> int:
        """Make due now what is on its way, or put off after an attempt, beyond any wait there is: a clock was set
        back. Returns how many.
        """
        values = {"now": now_s, "beyond": beyond_s, "put_off_beyond": put_off_beyond_s}
        with self._connections.write(durable=False) as connection:
            return connection.execute(_FAR_AWAY, values).rowcount

    def claim_delivery(self, delivery_id: str, *, now_s: float, lease_s: float) -> Delivery | None:
        """Lease it, counting the attempt; ``None`` if it is over, or somebody else holds it."""
        with self._connections.write(durable=False) as connection:
            lease = {"id": delivery_id, "now": now_s, "until": now_s + lease_s}
            row = connection.execute(_CLAIM, lease).one_or_none()
            return None if row is None else _delivery_of(row)

    def renew_delivery(self, delivery: Delivery, *, until_s: float) -> bool:
        """Hold the lease longer; ``False`` if it is not ours any more."""
        with self._connections.write(durable=False) as connection:
            held = {"id": delivery.delivery_id, "attempt": delivery.attempts, "until": until_s}
            return connection.execute(_RENEW, held).rowcount == 1

    def delivered(self, delivery: Delivery, *, now_s: float) -> None:
        """It was taken."""
        self._close(delivery, DeliveryState.DELIVERED, "", due_at_s=now_s)

    def postpone_delivery(self, delivery: Delivery, error: str, *, due_at_s: float) -> None:
        """It was not taken; try again then."""
        self._close(delivery, DeliveryState.OPEN, error, due_at_s=due_at_s)

    def give_up_delivery(self, delivery: Delivery, error: str, *, now_s: float) -> None:
        """It was not taken, and will not be tried again of itself."""
        self._close(delivery, DeliveryState.GIVEN_UP, error, due_at_s=now_s)

    def supersede_delivery(self, delivery: Delivery, by: str, *, now_s: float) -> None:
        """Nobody is to have it: the study ``by`` stands in the place of its own."""
        self._close(delivery, DeliveryState.SUPERSEDED, by, due_at_s=now_s)

    def undelivered(self, *, site: str, limit: int) -> list[Delivery]:
        """Deliveries that are still to be made or were given up, the newest first."""
        with self._connections.read() as connection:
            return [_delivery_of(row) for row in connection.execute(_LIST, {"of": site, "most": limit})]

    def retry_delivery(self, delivery_id: str, *, site: str, now_s: float) -> bool:
        """A person wants one tried again, with a fresh count; ``False`` unless it was given up."""
        with self._connections.write(durable=True) as connection:
            if connection.execute(_AGAIN, {"id": delivery_id, "of": site, "now": now_s}).rowcount != 1:
                return False
            connection.execute(_NONE_REJECTED, {"id": delivery_id})
            return True

    def send_study(
        self, study_id: str, subscriber: Subscriber, *, site: str, now_s: float, due_at_s: float
    ) -> str | None:
        """A person wants the results of a study sent, again if they were: the delivery's id, due then with a fresh
        count; ``None`` if the study is not done, or the delivery is on its way this moment.
        """
        with self._connections.write(durable=True) as connection:
            number = connection.execute(_DONE, {"study": study_id, "of": site}).scalar_one_or_none()
            if number is None:
                return None
            delivery_id = add(connection, study_id, subscriber, site=site, number=number, now_s=now_s)
            if connection.execute(_SEND, {"id": delivery_id, "now": now_s, "due": due_at_s}).rowcount != 1:
                return None
            connection.execute(_NO_OBJECTS, {"id": delivery_id})
            return delivery_id

    def delivered_objects(self, delivery_id: str) -> list[DeliveredObject]:
        """What became of each object of a delivery so far."""
        with self._connections.read() as connection:
            found = connection.execute(_OBJECTS, {"id": delivery_id})
            return [DeliveredObject(row.name, ObjectState(row.state), row.detail) for row in found]

    def note_objects(self, delivery_id: str, objects: Sequence[DeliveredObject]) -> None:
        """Remember what became of these; those not named stay as they are."""
        with self._connections.write(durable=False) as connection:
            for each in objects:
                connection.execute(_NO_OBJECT, {"id": delivery_id, "called": each.name})
                values = {"name": each.name, "state": each.state.value, "detail": each.detail}
                insert_new(connection, DELIVERY_OBJECTS, {"delivery_id": delivery_id, **values})

    def _close(self, delivery: Delivery, state: DeliveryState, error: str, *, due_at_s: float) -> None:
        held = {"id": delivery.delivery_id, "attempt": delivery.attempts}
        with self._connections.write(durable=False) as connection:
            closing = {"closed_as": state.value, "error": error, "due": due_at_s}
            if connection.execute(_CLOSE, {**held, **closing}).rowcount == 1 and state is not DeliveryState.OPEN:
                note = {"study_id": delivery.study_id, "at_s": due_at_s, "detail": error}
                what = "superseded"
                if state is not DeliveryState.SUPERSEDED:
                    what = _WHAT[delivery.channel][state is not DeliveryState.DELIVERED]
                if delivery.destination:
                    note["detail"] = f"{delivery.destination}: {error}" if error else delivery.destination
                connection.execute(_NOTE, {**note, "what": what})


def _delivery_of(row: Any) -> Delivery:
    values = row._asdict()
    values["state"] = DeliveryState(row.state)
    values["channel"] = Channel(row.channel)
    return Delivery(**values)
