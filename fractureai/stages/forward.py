"""forward: hand the audit to the hospital's receiver, record by record, from where it stopped. At least once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fractureai.domain.audit import AuditLedger, AuditRecord

_AT_ONCE = 200


class AuditReceiver(Protocol):
    """Whoever keeps the audit of the whole hospital."""

    def send(self, records: Sequence[AuditRecord]) -> None:
        """Hand over. Raises ``TransientFailure``; then some may have arrived."""


def forward(ledger: AuditLedger, receiver: AuditReceiver, name: str) -> int:
    """Send what ``name`` has not had; returns how many records. Raises ``TransientFailure`` of either side."""
    sent = 0
    for head in ledger.audit_heads():
        known = ledger.audit_cursor(name, head.site)
        while known < head.number:
            records = ledger.audit_records(head.site, after=known, limit=_AT_ONCE)
            if not records:
                break
            receiver.send(records)
            known = records[-1].number
            ledger.audit_sent(name, head.site, known)
            sent += len(records)
    return sent
