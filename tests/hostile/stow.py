"""Requests of STOW-RS made by hand, and what their answers say of each instance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.hostile.dicom_scu import SUCCESS

_EDGE = b"an-edge-that-no-hostile-file-holds"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary="{_EDGE.decode()}"'


def body_of(files: Iterable[bytes]) -> bytes:
    """All of them in one request."""
    parts = (b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (_EDGE, data) for data in files)
    return b"".join(parts) + b"--%s--\r\n" % _EDGE


def reasons_of(answer: Any) -> list[str]:
    """From an answer's JSON: success for each that was stored, then the failure reasons (PS3.18 table I.2-2)."""

    def values(tag: str) -> list[Any]:
        return list(answer.get(tag, {}).get("Value", []))

    failures = [item["00081197"]["Value"][0] for tag in ("00081198", "0008119A") for item in values(tag)]
    return [SUCCESS] * len(values("00081199")) + [f"{reason:04X}" for reason in failures]
