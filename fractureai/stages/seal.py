"""seal: write down, away from the ledger, where each site's audit ends, so that a cut-off end is noticed.

A seal names the last record's number and hash. It lies in the store and in the log, and carries a keyed hash: whoever
can change the ledger but has not the key cannot make one that fits a forged chain.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Iterator

from fractureai.domain import keys
from fractureai.domain.audit import AuditLedger, Head
from fractureai.domain.ports import ObjectStore

_LOG = logging.getLogger(__name__)

FORGED = "a seal is not ours"


def seal_all(ledger: AuditLedger, store: ObjectStore, secret: bytes, *, now_s: float) -> int:
    """Seal every chain that has grown since its last seal; returns how many."""
    sealed = 0
    for head in ledger.audit_heads():
        key = keys.audit_seal(head.site, head.number)
        if store.size_bytes(key) is not None:
            continue
        body = {"site": head.site, "number": head.number, "hash": head.hash, "at": now_s}
        store.put(key, json.dumps(body | {"seal": _keyed(head, secret)}, sort_keys=True).encode())
        _LOG.info("audit of %s sealed at %d: %s", head.site, head.number, head.hash)
        sealed += 1
    return sealed


def seals_of(site: str, store: ObjectStore, secret: bytes) -> Iterator[Head | str]:
    """The seals of a site in the store; for one that is not ours, the sentence that says so."""
    for key in sorted(store.keys(keys.audit_prefix(site))):
        try:
            data = json.loads(store.get(key))
            head = Head(str(data["site"]), int(data["number"]), str(data["hash"]))
            is_ours = head.site == site and hmac.compare_digest(str(data["seal"]), _keyed(head, secret))
        except (KeyError, ValueError, TypeError):
            is_ours = False
        if not is_ours:
            yield f"{FORGED}: {key}"
            continue
        yield head


def _keyed(head: Head, secret: bytes) -> str:
    text = f"fractureai.audit\n{head.site}\n{head.number}\n{head.hash}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
