"""The audit record: who did and saw what, in the words of DICOM PS3.15 A.5 and IHE ATNA. Pure: no clock, no database.

Records of a site form a chain: each holds the hash of the one before, so that one that was altered or taken out breaks
it; heads that are sealed from time to time show that the end was cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fractureai.domain.access import Principal

GENESIS = "0" * 64
"""What the first record of a chain takes for the hash of the one before."""


class Act(StrEnum):
    """What was done."""

    START = "start"
    INTAKE = "intake"
    CONFLICT = "conflict"
    VIEW = "view"
    DOWNLOAD = "download"
    SENT = "sent"
    QUERY = "query"
    VERDICT = "verdict"
    RETRY = "retry"
    DELETE = "delete"
    HOLD = "hold"
    KEY = "key"
    ACCOUNT = "account"
    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    REFUSED = "refused"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Coded:
    """A term of DICOM's (PS3.16 CID 400 and 401, coding scheme DCM)."""

    code: str
    meaning: str


@dataclass(frozen=True, slots=True)
class EventKind:
    """What PS3.15 A.5 calls an act: event, type and action (C, R, U, D or E)."""

    event: Coded
    action: str
    type: Coded | None = None


_ACCESSED = Coded("110103", "DICOM Instances Accessed")
_ALERT = Coded("110113", "Security Alert")
_AUTHENTICATION = Coded("110114", "User Authentication")
_LOGIN = Coded("110122", "Login")

EVENTS: Mapping[Act, EventKind] = {
    Act.START: EventKind(Coded("110100", "Application Activity"), "E", Coded("110120", "Application Start")),
    Act.INTAKE: EventKind(Coded("110107", "Import"), "C"),
    Act.CONFLICT: EventKind(Coded("110107", "Import"), "C"),
    Act.VIEW: EventKind(_ACCESSED, "R"),
    Act.DOWNLOAD: EventKind(Coded("110106", "Export"), "R"),
    Act.SENT: EventKind(Coded("110104", "DICOM Instances Transferred"), "R"),
    Act.QUERY: EventKind(Coded("110112", "Query"), "E"),
    Act.VERDICT: EventKind(_ACCESSED, "U"),
    Act.RETRY: EventKind(_ACCESSED, "U"),
    Act.DELETE: EventKind(Coded("110105", "DICOM Study Deleted"), "D"),
    Act.HOLD: EventKind(_ALERT, "E", Coded("110135", "Object Security Attributes Changed")),
    Act.KEY: EventKind(_ALERT, "E", Coded("110137", "User Security Attributes Changed")),
    Act.ACCOUNT: EventKind(_ALERT, "E", Coded("110137", "User Security Attributes Changed")),
    Act.SIGN_IN: EventKind(_AUTHENTICATION, "E", _LOGIN),
    Act.SIGN_OUT: EventKind(_AUTHENTICATION, "E", Coded("110123", "Logout")),
    Act.REFUSED: EventKind(_AUTHENTICATION, "E", _LOGIN),
    Act.AUDIT: EventKind(Coded("110101", "Audit Log Used"), "R"),
}


class Outcome(StrEnum):
    """How it went: PS3.15's 0 and 4."""

    DONE = "done"
    REFUSED = "refused"

    @property
    def indicator(self) -> int:
        """EventOutcomeIndicator."""
        return 0 if self is Outcome.DONE else 4


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something somebody did. Ids only: no label, no file name, nothing of the patient.

    Attributes
    ----------
    subject:
        What it was done to: ``("study", id)``, ``("batch", id)``, ``("key", id)`` …; none for a sign-in.
    detail:
        One short phrase of ours.
    """

    site: str
    act: Act
    at_s: float
    who_kind: str
    who: str
    who_name: str
    address: str = ""
    subject_kind: str = ""
    subject: str = ""
    outcome: Outcome = Outcome.DONE
    detail: str = ""

    @classmethod
    def by(cls, principal: Principal, act: Act, *, at_s: float, **more: Any) -> AuditEvent:
        """An event of somebody at their site."""
        return cls(principal.site, act, at_s, principal.kind.value, principal.ident, principal.name, **more)

    def to_json(self) -> dict[str, Any]:
        """As it is hashed and exported."""
        kind = EVENTS[self.act]
        return {
            "site": self.site,
            "act": self.act.value,
            "at": self.at_s,
            "event": [kind.event.code, kind.event.meaning],
            "action": kind.action,
            "type": [kind.type.code, kind.type.meaning] if kind.type else None,
            "outcome": self.outcome.indicator,
            "who": {"kind": self.who_kind, "id": self.who, "name": self.who_name, "address": self.address},
            "what": {"kind": self.subject_kind, "id": self.subject},
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An event in its place in the chain of its site.

    Attributes
    ----------
    text:
        The event, as it was hashed.
    """

    site: str
    number: int
    text: str
    previous: str
    hash: str

    def to_json(self) -> dict[str, Any]:
        """A line of the export."""
        return {"number": self.number, **json.loads(self.text), "previous": self.previous, "hash": self.hash}


def chained(event: AuditEvent, number: int, previous: str) -> AuditRecord:
    """Put an event after the record with the hash ``previous``."""
    text = json.dumps(event.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return AuditRecord(event.site, number, text, previous, hash_of(event.site, number, text, previous))


def hash_of(site: str, number: int, text: str, previous: str) -> str:
    """The hash of a record. The parts before the text have no line breaks, so no two records are hashed alike."""
    return hashlib.sha256(f"{site}\n{number}\n{previous}\n{text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the number and hash of its last record."""

    site: str
    number: int
    hash: str


@dataclass(slots=True)
class ChainCheck:
    """Walks along a chain and says what is wrong with it."""

    site: str
    faults: list[str] = field(default_factory=list)
    number: int = 0
    hash: str = GENESIS
    _seals: dict[int, str] = field(default_factory=dict)

    def expect(self, seals: Sequence[Head]) -> None:
        """What was sealed."""
        self._seals = {seal.number: seal.hash for seal in seals}

    def take(self, record: AuditRecord) -> None:
        """The next record, in the order of numbers."""
        expected = self.number + 1
        if record.number != expected:
            gone = (
                f"record {expected}" if record.number == expected + 1 else f"records {expected} to {record.number - 1}"
            )
            self.faults.append(f"{gone} missing")
        elif record.previous != self.hash:
            self.faults.append(f"record {record.number} does not follow the one before")
        if record.hash != hash_of(record.site, record.number, record.text, record.previous):
            self.faults.append(f"record {record.number} was altered")
        sealed = self._seals.pop(record.number, None)
        if sealed is not None and sealed != record.hash:
            self.faults.append(f"record {record.number} is not the one that was sealed")
        self.number, self.hash = record.number, record.hash

    def end(self, head: Head | None) -> None:
        """All records were taken; ``head`` is what the ledger says of the end."""
        if (head.number, head.hash) != (self.number, self.hash) if head else self.number:
            self.faults.append(f"the chain ends at {self.number}, its head says {head.number if head else 0}")
        last = max(self._seals, default=0)
        if last > self.number:
            self.faults.append(f"records {self.number + 1} to {last} are missing: the end was cut off")


class AuditLedger(Protocol):
    """The audit record. Every method is one transaction."""

    def note(self, event: AuditEvent, *, durable: bool = True) -> AuditRecord:
        """Append an event to the chain of its site; what is not ``durable`` may be forgotten by a power cut, but then
        with all that came after it.
        """

    def audit_records(self, site: str, *, after: int = 0, limit: int = 500) -> list[AuditRecord]:
        """Records of a site in their order."""

    def audit_heads(self) -> list[Head]:
        """Where the chains of all sites end."""

    def audit_cursor(self, receiver: str, site: str) -> int:
        """The last record a receiver has; 0 for none."""

    def audit_sent(self, receiver: str, site: str, number: int) -> None:
        """A receiver has everything up to ``number``."""
