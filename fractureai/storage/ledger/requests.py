"""Requests that are to be done once however often they come."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection, bindparam, delete, select

from fractureai.domain.records import REQUEST_KEPT_S, KeyedRequest
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import REQUESTS

_ROW = select(*(REQUESTS.c[field.name] for field in dataclasses.fields(KeyedRequest)))
_KNOWN = _ROW.where(REQUESTS.c.site == bindparam("of"), REQUESTS.c.key == bindparam("name"))
_OUTLIVED = delete(REQUESTS).where(
    REQUESTS.c.site == bindparam("of"), REQUESTS.c.key == bindparam("name"), REQUESTS.c.at_s < bindparam("before")
)
_FORGET = delete(REQUESTS).where(REQUESTS.c.at_s < bindparam("before"))


def remember(connection: Connection, request: KeyedRequest) -> KeyedRequest | None:
    """Record a request, in the transaction that does it; the one that had its key before, if there is one."""
    connection.execute(_OUTLIVED, {"of": request.site, "name": request.key, "before": request.at_s - REQUEST_KEPT_S})
    if insert_new(connection, REQUESTS, dataclasses.asdict(request)):
        return None
    return earlier(connection, request.key, site=request.site, now_s=request.at_s)


def earlier(connection: Connection, key: str, *, site: str, now_s: float) -> KeyedRequest | None:
    """The request that came with this key."""
    row = connection.execute(_KNOWN, {"of": site, "name": key}).one_or_none()
    return None if row is None or row.at_s < now_s - REQUEST_KEPT_S else KeyedRequest(**row._asdict())


def forget(connection: Connection, *, before_s: float) -> int:
    """Forget keys that came before."""
    return connection.execute(_FORGET, {"before": before_s}).rowcount
