"""What the work at hand is called: ids that every line of the log carries, and a request's id on its way.

The lowest of all modules, like ``errors``: whoever begins a piece of work binds its names, whoever logs has them.
Ids only; a name, a label or a file name of a sender is patient data and has no place here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType

FIELDS = ("request_id", "batch_id", "study_id", "stage", "attempt")
"""All that may be bound, in the order in which logs show it."""

_NOTHING: Mapping[str, object] = MappingProxyType({})
_BOUND: ContextVar[Mapping[str, object]] = ContextVar("fractureai_bound", default=_NOTHING)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

Bound = Token[Mapping[str, object]]


def current() -> Mapping[str, object]:
    """What is bound here and now."""
    return _BOUND.get()


def request_id() -> str:
    """The id of the request that led here; ``""`` if none did."""
    return str(_BOUND.get().get("request_id", ""))


def well_formed(request_id: str) -> bool:
    """Whether a stranger's request id may go into logs, messages and the ledger: 8 to 64 of ``A-Za-z0-9._-``."""
    return _REQUEST_ID.fullmatch(request_id) is not None


def bind(**fields: object) -> Bound:
    """Bind more, until :func:`unbind`; for frameworks that tell begin and end in two calls.

    Raises
    ------
    ValueError
        If a field is not one of :data:`FIELDS`.
    """
    if not fields.keys() <= set(FIELDS):
        raise ValueError(f"logs carry {', '.join(FIELDS)} and nothing else")
    return _BOUND.set(MappingProxyType({**_BOUND.get(), **fields}))


def bind_only(**fields: object) -> Bound:
    """Forget what is bound, then bind: where a thread begins something new."""
    token = _BOUND.set(_NOTHING)
    bind(**fields)
    return token


def unbind(bound: Bound) -> None:
    """Go back to what was bound before."""
    _BOUND.reset(bound)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Bind more for the length of a block."""
    token = bind(**fields)
    try:
        yield
    finally:
        unbind(token)
