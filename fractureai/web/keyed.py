"""``Idempotency-Key``: a request that is sent again, because its answer was lost on the way, is done once.

The key is recorded in the transaction that accepts the work. What was asked is compared by names, hashes and label of
what was sent, not by the bytes of the request: a client that sends again draws a new multipart boundary.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from flask import Request

from fractureai.domain.records import KeyedRequest
from fractureai.web.context import site, web
from fractureai.web.problems import Problem
from fractureai.web.sorting import Sorting
from fractureai.web.upload import ReceivedFile

HEADER = "Idempotency-Key"
_MAX_LENGTH = 255


class AlreadyAnswered(Exception):
    """The same was asked before, and this was the answer."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer: dict[str, Any] = json.loads(answer)


def key_of(request: Request) -> str | None:
    """The sender's key; ``None`` if there is none."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not (key and len(key) <= _MAX_LENGTH and key.isascii() and key.isprintable()):
        raise Problem("bad_parameter", f"“{HEADER}” is 1 to {_MAX_LENGTH} printable ASCII characters.")
    return key


def fingerprint(kind: str, label: str, files: Sequence[ReceivedFile], sorting: Sorting) -> str:
    """What was asked, in one hash."""
    named: list[Any] = [kind, label, [[file.file_name, file.stored.size_bytes, file.stored.sha256] for file in files]]
    if sorting != Sorting():
        named += [sorting.grouping, sorting.pattern]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def earlier(key: str | None) -> KeyedRequest | None:
    """What came with this key before."""
    ports = web().ports
    return ports.ledger.earlier_request(key, site=site(), now_s=ports.clock()) if key else None


def keyed(key: str | None, asked: str, answer: dict[str, Any]) -> KeyedRequest | None:
    """What the ledger is to remember."""
    return KeyedRequest(site(), key, asked, json.dumps(answer), web().ports.clock()) if key else None


def answer_again(known: KeyedRequest, asked: str) -> None:
    """End the request with the answer of the time before.

    Raises
    ------
    AlreadyAnswered
        If the same was asked.
    Problem
        ``key_reused`` if not.
    """
    if not hmac.compare_digest(known.fingerprint, asked):
        raise Problem("key_reused")
    raise AlreadyAnswered(known.answer)
