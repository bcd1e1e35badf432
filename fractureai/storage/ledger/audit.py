"""The audit record, as methods of the ledger. There is no method that changes or removes a record."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, update

from fractureai.domain.audit import GENESIS, AuditEvent, AuditRecord, Head, chained
from fractureai.storage.ledger.audit_tables import AUDIT, AUDIT_CURSORS, AUDIT_HEADS
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.inserts import insert_new

# PostgreSQL keeps the row locked until the transaction ends; on SQLite the transaction has the only pen anyway.
_HEAD = select(AUDIT_HEADS.c.number, AUDIT_HEADS.c.hash).where(AUDIT_HEADS.c.site == bindparam("of")).with_for_update()
_MOVE = (
    update(AUDIT_HEADS)
    .where(AUDIT_HEADS.c.site == bindparam("of"))
    .values(number=bindparam("to_number"), hash=bindparam("to_hash"))
)
_ADD = AUDIT.insert()
_RECORDS = (
    select(AUDIT.c.site, AUDIT.c.number, AUDIT.c.event, AUDIT.c.previous, AUDIT.c.hash)
    .where(AUDIT.c.site == bindparam("of"), AUDIT.c.number > bindparam("after"))
    .order_by(AUDIT.c.number)
    .limit(bindparam("most"))
)
_CURSOR = select(AUDIT_CURSORS.c.number).where(
    AUDIT_CURSORS.c.receiver == bindparam("to"), AUDIT_CURSORS.c.site == bindparam("of")
)


class AuditMethods:
    """The audit record, as methods of the ledger."""

    _connections: Connections

    def note(self, event: AuditEvent, *, durable: bool = True) -> AuditRecord:
        """Append an event to the chain of its site, under the lock of the chain's head."""
        with self._connections.write(durable=durable) as connection:
            return append(connection, event)

    def audit_records(self, site: str, *, after: int = 0, limit: int = 500) -> list[AuditRecord]:
        """Records of a site in their order."""
        with self._connections.read() as connection:
            found = connection.execute(_RECORDS, {"of": site, "after": after, "most": limit})
            return [AuditRecord(*row) for row in found]

    def audit_heads(self) -> list[Head]:
        """Where the chains of all sites end."""
        with self._connections.read() as connection:
            found = connection.execute(
                select(AUDIT_HEADS.c.site, AUDIT_HEADS.c.number, AUDIT_HEADS.c.hash).order_by(AUDIT_HEADS.c.site)
            )
            return [Head(*row) for row in found]

    def audit_cursor(self, receiver: str, site: str) -> int:
        """The last record a receiver has; 0 for none."""
        with self._connections.read() as connection:
            return connection.execute(_CURSOR, {"to": receiver, "of": site}).scalar_one_or_none() or 0

    def audit_sent(self, receiver: str, site: str, number: int) -> None:
        """A receiver has everything up to ``number``."""
        mine = (AUDIT_CURSORS.c.receiver == receiver, AUDIT_CURSORS.c.site == site)
        with self._connections.write(durable=False) as connection:
            insert_new(connection, AUDIT_CURSORS, {"receiver": receiver, "site": site, "number": 0})
            connection.execute(update(AUDIT_CURSORS).where(*mine).values(number=number))


def append(connection: Connection, event: AuditEvent) -> AuditRecord:
    """Append an event, in a transaction that does more."""
    head = connection.execute(_HEAD, {"of": event.site}).one_or_none()
    if head is None:
        insert_new(connection, AUDIT_HEADS, {"site": event.site, "number": 0, "hash": GENESIS})
        head = connection.execute(_HEAD, {"of": event.site}).one()
    record = chained(event, head.number + 1, head.hash)
    connection.execute(
        _ADD,
        {
            "site": record.site,
            "number": record.number,
            "event": record.text,
            "previous": record.previous,
            "hash": record.hash,
        },
    )
    connection.execute(_MOVE, {"of": event.site, "to_number": record.number, "to_hash": record.hash})
    return record
