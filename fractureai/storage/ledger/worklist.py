"""The worklist: any part of a site's studies, in either order, page by page.

Two steps in one statement: the ids of the page from an index that holds all that can be asked for, then the rows of
those ids. So a study that does not fit costs a look at an index entry, not at the table.

Words are looked up in their own sorted list first. If few studies have one, those few are sorted; if many have it, the
page is soon full walking in order and asking each study for the word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    exists,
    func,
    literal,
    select,
    tuple_,
)

from fractureai.domain.records import Page, StudyFilter, StudyRow, WorklistOrder
from fractureai.domain.search import words_of
from fractureai.storage.ledger import rows
from fractureai.storage.ledger.schema import STUDIES, WORDS

_MOST_WORDS = 5
_FEW = 2000
"""So many studies are sorted for a page in a few milliseconds."""

_LAST_LETTER = "\U0010ffff"
_ORDERS = {
    WorklistOrder.NEWEST: ("accepted_at_s", "study_id"),
    WorklistOrder.MOST_SUSPICIOUS: ("suspicion", "accepted_at_s", "study_id"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class WorklistQuery:
    """Which part of the worklist is asked for."""

    site: str
    which: StudyFilter
    order: WorklistOrder
    cursor: str | None
    limit: int


def page(connection: Connection, query: WorklistQuery) -> Page:
    """A page of the worklist. Raises ``ValueError`` if the cursor is not one of this order."""
    words = words_of([query.which.text], most=_MOST_WORDS)
    if query.which.text and not words:
        return Page((), None)
    found = [rows.study_row_of(row) for row in connection.execute(_statement(connection, query, words))]
    found.sort(key=rows.SORT_KEYS[query.order], reverse=True)
    page = tuple(found[: query.limit])
    return Page(page, rows.cursor_of(page[-1], query.order) if len(found) > query.limit else None)


def _statement(connection: Connection, query: WorklistQuery, words: Sequence[str]) -> Select[Any]:
    """The rows of a page, in no order; one more than asked for tells whether there is a next page."""
    source, words = _source(connection, query.site, words)
    ids = select(source.c.study_id).where(*_conditions(source, query), *(_has(source, word) for word in words))
    ids = ids.order_by(*(source.c[name].desc() for name in _ORDERS[query.order])).limit(query.limit + 1)
    chosen = ids.subquery("chosen")
    wanted = select(*(STUDIES.c[field.name] for field in dataclasses.fields(StudyRow)))
    return wanted.join(chosen, chosen.c.study_id == STUDIES.c.study_id)


def _source(connection: Connection, site: str, words: Sequence[str]) -> tuple[FromClause, Sequence[str]]:
    """What the ids are taken from (all studies, or the few with the rarest word), and the words still to be checked."""
    counts = {word: _count(connection, site, word) for word in words}
    rarest = min(words, key=lambda word: counts[word], default=None)
    if rarest is None or counts[rarest] > _FEW:
        return STUDIES, words
    few = select(WORDS.c.study_id).where(*_range(site, rarest))
    columns = [STUDIES.c[name] for name in ("site", "study_id", "batch_id", "state", "assessment", "region")]
    times = [STUDIES.c.accepted_at_s, STUDIES.c.suspicion]
    # Apart, so that no planner walks all studies in order to find the few.
    source = select(*columns, *times).where(STUDIES.c.study_id.in_(few)).cte("few").prefix_with("MATERIALIZED")
    return source, [word for word in words if word != rarest]


def _count(connection: Connection, site: str, word: str) -> int:
    some = select(literal(1)).where(*_range(site, word)).limit(_FEW + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _range(site: str, word: str) -> tuple[ColumnElement[bool], ...]:
    return WORDS.c.site == site, WORDS.c.word >= word, WORDS.c.word < word + _LAST_LETTER


def _has(source: FromClause, word: str) -> ColumnElement[bool]:
    of_study = and_(WORDS.c.study_id == source.c.study_id, WORDS.c.word >= word, WORDS.c.word < word + _LAST_LETTER)
    return exists(select(literal(1)).where(of_study))


def _conditions(source: FromClause, query: WorklistQuery) -> list[ColumnElement[bool]]:
    which, columns = query.which, source.c
    wanted = {"site": query.site, "batch_id": which.batch_id, "state": which.state, "region": which.region}
    conditions = [columns[name] == str(value) for name, value in wanted.items() if value is not None]
    if which.assessment is not None:
        conditions.append(columns.assessment == which.assessment.value)
        if query.order is WorklistOrder.MOST_SUSPICIOUS:
            # The same once more, as a stretch of the index of this order.
            conditions.append(columns.suspicion.between(*rows.suspicion_range(which.assessment)))
    if which.accepted_from_s is not None:
        conditions.append(columns.accepted_at_s >= which.accepted_from_s)
    if which.accepted_to_s is not None:
        conditions.append(columns.accepted_at_s < which.accepted_to_s)
    if query.cursor is not None:
        position = tuple_(*(columns[name] for name in _ORDERS[query.order]))
        conditions.append(position < rows.position_of(query.cursor, query.order))
    return conditions
