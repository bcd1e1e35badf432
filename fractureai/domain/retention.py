"""How long things are kept, what must not be deleted, and the proof of what was. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class HoldKind(StrEnum):
    """What a hold is put on."""

    STUDY = "study"
    PATIENT = "patient"


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that must not be deleted, by law or by order.

    Attributes
    ----------
    subject:
        The study's id, or the keyed hash of the patient's (:func:`patient_mark`).
    """

    site: str
    kind: HoldKind
    subject: str
    reason: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the ledger forgot with a study.

    Attributes
    ----------
    rows:
        How many rows, by table.
    batch_id:
        The batch it came with, if that went too because nothing is left of it.
    arrivals:
        ``(arrival_id, received_at_s)`` of DICOM instances that are no longer needed.
    """

    rows: Mapping[str, int]
    batch_id: str | None = None
    arrivals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class DeletedObject:
    """One object of the store that is gone."""

    key: str
    size_bytes: int
    sha256: str


@dataclass(slots=True)
class DeletedStudy:
    """One study that is gone."""

    study_id: str
    objects: list[DeletedObject] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Certificate:
    """The proof of a deletion: what was removed, and what was left and why. Nothing of the patient is in it.

    Attributes
    ----------
    patient:
        The keyed hash of the patient's id; ``""`` where the deletion was by age.
    left:
        ``(study id, why)`` of what was found and not deleted.
    """

    certificate_id: str
    site: str
    at_s: float
    by: str
    why: str
    patient: str = ""
    studies: list[DeletedStudy] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self, secret: bytes) -> dict[str, Any]:
        """With the hash of its content, and a keyed hash that only this installation can make."""
        body: dict[str, Any] = {
            "certificate_id": self.certificate_id,
            "site": self.site,
            "at": self.at_s,
            "by": self.by,
            "why": self.why,
            "patient": self.patient,
            "studies": [
                {
                    "study_id": study.study_id,
                    "objects": [
                        {"key": one.key, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in study.objects
                    ],
                    "ledger_rows": study.rows,
                }
                for study in self.studies
            ],
            "left": [{"study_id": study_id, "why": why} for study_id, why in self.left],
        }
        return body | {"sha256": _sha256(body), "seal": _seal(body, secret)}


def is_genuine(document: Mapping[str, Any], secret: bytes) -> bool:
    """Whether a certificate is one of this installation, unaltered."""
    body = {name: value for name, value in document.items() if name not in {"sha256", "seal"}}
    given = str(document.get("seal", "")).encode()
    return document.get("sha256") == _sha256(body) and hmac.compare_digest(given, _seal(body, secret).encode())


def patient_mark(site: str, patient_id: str, secret: bytes) -> str:
    """What stands for a patient where the id must not: HMAC-SHA-256, another one at every site."""
    named = f"fractureai.patient\n{site}\n{patient_id.strip()}"
    return hmac.new(secret, named.encode(), hashlib.sha256).hexdigest()


def _text(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _sha256(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(body)).hexdigest()


def _seal(body: Mapping[str, Any], secret: bytes) -> str:
    return hmac.new(secret, b"fractureai.certificate\n" + _text(body), hashlib.sha256).hexdigest()


class RetentionLedger(Protocol):
    """Holds, and forgetting. Every method is one transaction."""

    def add_hold(self, hold: Hold) -> bool:
        """Put a hold on something; ``False`` if there is one."""

    def release_hold(self, site: str, kind: HoldKind, subject: str) -> bool:
        """Take it off; ``False`` if there is none."""

    def holds(self, site: str) -> list[Hold]:
        """All holds of a site, the oldest first."""

    def final_before(
        self, site: str, *, before_s: float, after: tuple[float, str] = (0.0, ""), limit: int = 200
    ) -> Sequence[tuple[float, str]]:
        """``(accepted_at_s, study_id)`` of final studies accepted before then, the oldest first."""

    def empty_batches(self, site: str, *, before_s: float, limit: int = 200) -> Sequence[str]:
        """Batches accepted before then and unpacked, of which there is no study, the oldest first."""

    def forget_batch(self, batch_id: str, *, site: str) -> bool:
        """Forget such a batch, label and file names with it; ``False`` if it is not there or not such a one."""

    def forget_study(self, study_id: str, *, site: str) -> Forgotten | None:
        """Forget a final study with everything that was said of it; ``None`` if it is not there, or at work."""
