"""What a person asks of the list of studies, read from an address and written into one.

Odd values are no filter: an address that somebody typed or that an older version made still shows a list.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from fractureai.domain.records import StudyFilter, WorklistOrder
from fractureai.domain.study import WorkState
from fractureai.web import words
from fractureai.web.context import is_id

OUTCOMES: Mapping[str, tuple[words.Word, StudyFilter]] = {
    **{
        assessment.value: (word, StudyFilter(state=WorkState.DONE, assessment=assessment))
        for assessment, word in words.ASSESSMENTS.items()
    },
    **{state.value: (word, StudyFilter(state=state)) for state, word in words.STATES.items()},
}
"""What people filter by: an assessment or, where there is none, the state of the work."""

ORDERS: Mapping[WorklistOrder, str] = {
    WorklistOrder.NEWEST: "Newest first",
    WorklistOrder.MOST_SUSPICIOUS: "Most suspicious first",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the list, in the words of its address.

    Attributes
    ----------
    outcome:
        A key of :data:`OUTCOMES`, or ``""``.
    first_day, last_day:
        Days of receipt, both included, as ISO dates in ``zone``; ``""`` for no bound.
    zone:
        The reader's time zone (IANA); ``""`` for UTC.
    search:
        The words that are searched for, as they stand in addresses: sealed.
    text:
        The same, to be read.
    usual_order:
        The one an address need not name.
    """

    outcome: str = ""
    region: str = ""
    batch_id: str = ""
    first_day: str = ""
    last_day: str = ""
    zone: str = ""
    search: str = ""
    text: str = ""
    order: WorklistOrder = WorklistOrder.NEWEST
    usual_order: WorklistOrder = WorklistOrder.NEWEST

    @property
    def which(self) -> StudyFilter:
        """The same for the ledger."""
        _, chosen = OUTCOMES.get(self.outcome, (None, StudyFilter()))
        return replace(
            chosen,
            batch_id=self.batch_id or None,
            region=self.region or None,
            text=self.text,
            accepted_from_s=_start_of(self.first_day, self.zone),
            accepted_to_s=_start_of(self.last_day, self.zone, days_later=1),
        )

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered out."""
        return self.which != StudyFilter()

    def address(self, **changes: Any) -> dict[str, str]:
        """The values of an address that asks this, with changes; what is as usual is left out."""
        asked = replace(self, **changes)
        values = {
            "outcome": asked.outcome,
            "region": asked.region,
            "batch": asked.batch_id,
            "from": asked.first_day,
            "to": asked.last_day,
            "zone": asked.zone if asked.first_day or asked.last_day else "",
            "search": asked.search,
            "order": "" if asked.order is asked.usual_order else asked.order.value,
        }
        return {name: value for name, value in values.items() if value}


def asked_by(
    values: Mapping[str, str],
    usual_order: WorklistOrder = WorklistOrder.NEWEST,
    *,
    opened: Callable[[str], str] = lambda _: "",
) -> Asked:
    """Read an address; ``opened`` reads the words that are sealed in it."""
    order, search = values.get("order", ""), values.get("search", "")
    batch_id, outcome, region = values.get("batch", ""), values.get("outcome", ""), values.get("region", "")
    return Asked(
        outcome=outcome if outcome in OUTCOMES else "",
        region=region if region.isalnum() and len(region) <= 40 else "",
        batch_id=batch_id if is_id(batch_id) else "",
        first_day=_day(values.get("from", "")),
        last_day=_day(values.get("to", "")),
        zone=values.get("zone", "") if _zone(values.get("zone", "")) is not UTC else "",
        search=search,
        text=opened(search),
        order=WorklistOrder(order) if order in set(WorklistOrder) else usual_order,
        usual_order=usual_order,
    )


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else ""
    except ValueError:
        return ""


def _zone(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name) if name else UTC
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return UTC


def _start_of(day: str, zone: str, *, days_later: int = 0) -> float | None:
    """The first moment of a day, in seconds since the epoch."""
    if not day:
        return None
    try:
        begin = date.fromisoformat(day) + timedelta(days=days_later)
        return datetime(begin.year, begin.month, begin.day, tzinfo=_zone(zone)).timestamp()
    except (OverflowError, ValueError):
        return None
