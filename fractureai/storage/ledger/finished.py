"""The places of finished studies, and who asks for what was finished since.

A study gets its place in the transaction that closes it, from a counter that is one row a site. The row's lock is held
to the end of that transaction, so the next place is given only when this one is visible: on PostgreSQL, too, nobody
who has seen a place will ever see an earlier one appear. (A sequence would hand out places before they are visible.)
A transaction that fails leaves a gap, which is nothing to wait for.
"""

from __future__ import annotations

import dataclasses
import secrets

from sqlalchemy import Connection, bindparam, select, update

from fractureai.domain.records import FinishedPage, StudyRow
from fractureai.storage.ledger import rows
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import FINISHES, STUDIES

_NEXT = (
    update(FINISHES)
    .where(FINISHES.c.site == bindparam("of"))
    .values(last_number=FINISHES.c.last_number + 1)
    .returning(FINISHES.c.last_number)
)
_COUNTER = select(FINISHES.c.era, FINISHES.c.last_number).where(FINISHES.c.site == bindparam("of"))
_SINCE = (
    select(*(STUDIES.c[field.name] for field in dataclasses.fields(StudyRow)), STUDIES.c.finish_number)
    .where(STUDIES.c.site == bindparam("of"), STUDIES.c.finish_number > bindparam("place"))
    .order_by(STUDIES.c.finish_number)
    .limit(bindparam("most"))
)


def next_number(connection: Connection, site: str) -> int:
    """The next place at a site; others wait for theirs until this transaction ends."""
    number = connection.execute(_NEXT, {"of": site}).scalar_one_or_none()
    if number is None:
        insert_new(connection, FINISHES, {"site": site, "era": secrets.token_hex(4), "last_number": 0})
        number = connection.execute(_NEXT, {"of": site}).scalar_one()
    return int(number)


def since(connection: Connection, *, site: str, cursor: str, limit: int) -> FinishedPage:
    """What was finished after ``cursor``. Raises ``ValueError`` if it is no cursor of any ledger."""
    era, place = _position_of(cursor)
    counter = connection.execute(_COUNTER, {"of": site}).one_or_none()
    if counter is None:
        return FinishedPage((), "")
    if era != counter.era or place > counter.last_number:
        # Of a ledger that was lost, or of the time after the backup this one comes from: once more rather than never.
        place = 0
    found = connection.execute(_SINCE, {"of": site, "place": place, "most": limit + 1}).all()
    page = found[:limit]
    last = page[-1].finish_number if page else place
    return FinishedPage(tuple(rows.study_row_of(row) for row in page), f"{counter.era}-{last}", more=len(found) > limit)


def _position_of(cursor: str) -> tuple[str, int]:
    if not cursor:
        return "", 0
    era, dash, place = cursor.partition("-")
    if not (dash and era.isalnum() and len(era) <= 16 and place.isascii() and place.isdigit() and len(place) <= 18):
        raise ValueError(f"not a cursor: {cursor!r}")
    return era, int(place)
