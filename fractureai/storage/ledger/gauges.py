"""How much is open, for those who watch."""

from __future__ import annotations

from sqlalchemy import Double, bindparam, case, func, literal_column, select

from fractureai.domain.records import OpenWork
from fractureai.domain.study import Stage
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.schema import STUDIES

# Written out, not bound: SQLite uses a partial index only if the statement itself says so.
_OPEN = STUDIES.c.state == literal_column("'open'")
# A retry's wait is a lease without an owner.
_HELD = STUDIES.c.lease_owner.is_not(None) & (STUDIES.c.lease_until_s > bindparam("now", type_=Double))
_WORK = (
    select(
        STUDIES.c.stage,
        func.count().label("open_studies"),
        func.sum(case((_HELD, 1), else_=0)).label("leased"),
        func.min(case((_HELD, None), else_=STUDIES.c.updated_at_s)).label("waiting_since_s"),
    )
    .where(_OPEN)
    .group_by(STUDIES.c.stage)
)


class GaugeMethods:
    """The part of ``SqlLedger`` that counts what is open."""

    _connections: Connections

    def open_work(self, *, now_s: float) -> list[OpenWork]:
        """What is open at each stage that has open studies; reads the rows of open studies only."""
        with self._connections.read() as connection:
            rows = connection.execute(_WORK, {"now": now_s}).all()
        return [OpenWork(Stage(row.stage), int(row.open_studies), int(row.leased), row.waiting_since_s) for row in rows]
