"""Names for people and things that nobody can trace back without the site's key, and that are the same every time.

HMAC-SHA-256 (RFC 2104) over the kind, the site and the value: the same patient is the same pseudonym at one site and
another one elsewhere, and whoever guesses a value cannot check the guess without the key.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from pathlib import PurePosixPath

from fractureai.domain.identity import patient_key

KEY_BYTES = 32
_MOST_DAYS = 3650
_MOST_WORDS = 5
# What a file name may go on ending with: the kinds of files there are, and nothing a name could hide in.
_ENDINGS = frozenset({".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".zip"})
_VERSION, _VARIANT = 8 << 76, 2 << 62


class Pseudonyms:
    """Pseudonyms by one key. Raises ``ValueError`` for a key that is too short."""

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise ValueError(f"the key needs {KEY_BYTES} random bytes")
        self._key = key

    def uid(self, site: str, value: str) -> str:
        """A UID from a UUID of version 8 (PS3.5 annex B.2, RFC 9562)."""
        number = int.from_bytes(self._mac("uid", site, value)[:16])
        number &= ~(0xF << 76) & ~(3 << 62)
        return f"2.25.{number | _VERSION | _VARIANT}"

    def patient(self, site: str, value: str) -> str:
        """``P`` and 12 letters and digits, however the ID is formatted; ``""`` for no ID."""
        return self._short("P", "patient", site, patient_key(value))

    def name(self, site: str, patient: str, words: Sequence[str], birth_date: str) -> str:
        """A short code for each word of a name and for a birth date.

        They show when files name two patients under one ID. The codes depend on the patient, so that two patients of
        the same name have different ones.
        """
        parts = [("N", word) for word in words[:_MOST_WORDS]] + ([("B", birth_date)] if birth_date else [])
        key = patient_key(patient)
        return " ".join(self._short(kind, "name word", site, f"{key}\0{part}")[:7] for kind, part in parts)

    def accession(self, site: str, value: str) -> str:
        """``A`` and 12 letters and digits; ``""`` for none."""
        return self._short("A", "accession", site, value)

    def shift_days(self, site: str, patient: str) -> int:
        """How many days all dates of a patient move: back, between one day and ten years."""
        return -1 - int.from_bytes(self._mac("days", site, patient_key(patient))[:8]) % _MOST_DAYS

    def file_name(self, site: str, name: str) -> str:
        """The path with each part replaced, so that what was in one folder still is; the index of a disc stays one."""
        *folders, last = PurePosixPath(name).parts or ("",)
        ending = PurePosixPath(last).suffix.lower()
        kept = last if last.upper() == "DICOMDIR" else ending if ending in _ENDINGS else ""
        stem = last[: len(last) - len(kept)]
        parts = [self._short("", "name", site, part)[:8].lower() for part in (*folders, stem)]
        return "/".join(parts) + kept

    def _short(self, letter: str, kind: str, site: str, value: str) -> str:
        return letter + base64.b32encode(self._mac(kind, site, value)).decode()[:12] if value else ""

    def _mac(self, kind: str, site: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{site}\0{value}".encode(), "sha256")
