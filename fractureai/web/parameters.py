"""Query parameters, read once for the API, the exports and the pages. What is not valid ends the request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from flask import request

from fractureai.domain.records import StudyFilter, WorklistOrder
from fractureai.domain.study import Assessment, WorkState
from fractureai.web import search_words
from fractureai.web.context import is_id
from fractureai.web.problems import Problem

MAX_PAGE = 200
MAX_WAIT_S = 25
MAX_TEXT_LENGTH = 200
_FILTERS = ("state", "assessment", "region", "batch_id", "from", "to", "search")
_MAX_REGION_LENGTH = 32

Choice = TypeVar("Choice", bound=StrEnum)


def study_filter(*, batch_id: str | None = None) -> StudyFilter:
    """Which studies the query asks for: ``state, assessment, region, batch_id, from, to, search``; empty ones are none.

    ``batch_id`` from the address wins over the query's.
    """
    if request.args.get("q"):
        raise Problem(
            "bad_parameter", "“q” has no place in an address, for addresses end in logs. See POST /api/v1/searches."
        )
    named = batch_id or _text("batch_id")
    if named and not is_id(named):
        raise Problem("bad_parameter", "“batch_id” is 32 hexadecimal digits.")
    return StudyFilter(
        batch_id=named or None,
        state=choice("state", WorkState),
        assessment=choice("assessment", Assessment),
        region=_text("region", _MAX_REGION_LENGTH) or None,
        accepted_from_s=_moment("from"),
        accepted_to_s=_moment("to", whole_day=True),
        text=search_words.opened(request.args.get("search", "")),
    )


def filter_values() -> dict[str, str]:
    """The filters and the order as they stand in the query, for the link to the next page."""
    return {name: request.args[name] for name in (*_FILTERS, "order") if request.args.get(name)}


def worklist_order() -> WorklistOrder:
    """In which order; the newest first unless the query says otherwise."""
    return choice("order", WorklistOrder) or WorklistOrder.NEWEST


def page_limit() -> int:
    """How many rows a page has."""
    return _whole("limit", 50, lowest=1, highest=MAX_PAGE)


def wait_s() -> int:
    """How long the answer may wait for news."""
    return _whole("wait", 0, lowest=0, highest=MAX_WAIT_S)


def _whole(name: str, default: int, *, lowest: int, highest: int) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and lowest <= int(text) <= highest):
        raise Problem("bad_parameter", f"“{name}” is a whole number from {lowest} to {highest}.")
    return int(text)


def _text(name: str, most: int = MAX_TEXT_LENGTH) -> str:
    return checked_text(name, request.args.get(name, ""), most)


def checked_text(name: str, given: object, most: int = MAX_TEXT_LENGTH) -> str:
    """Text as somebody sent it, without blanks around it. Raises ``bad_parameter`` if it is none, or too long."""
    text = given.strip() if isinstance(given, str) else "\0"
    if len(text) > most or "\0" in text or any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise Problem("bad_parameter", f"“{name}” is text of at most {most} letters.")
    return text


def choice(name: str, choices: type[Choice]) -> Choice | None:
    """One of a few words; ``None`` if the query says nothing."""
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        return choices(text)
    except ValueError:
        raise Problem("bad_parameter", f"“{name}” is one of {', '.join(choices)}.") from None


def _moment(name: str, *, whole_day: bool = False) -> float | None:
    """Seconds since the epoch. A date alone is its beginning in UTC, or with ``whole_day`` the end of that day."""
    text = _text(name, 40)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if whole_day and len(text) <= len("2026-12-31"):
            moment += timedelta(days=1)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Problem("bad_parameter", f"“{name}” is a date (2026-12-31) or a moment (2026-12-31T23:00Z).") from None
