"""A bound on how pydicom looks for a JPEG 2000 codestream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.pixels.decoders import base

_SIGNATURE = b"\x00\x00\x00\x0cjP  "  # ISO/IEC 15444-1 annex I: a JP2 file, where DICOM wants the codestream alone
_CODESTREAM = b"jp2c"
_LEAST_BOX_BYTES = 8


def bound_pydicom() -> None:
    """Have it give up, with ``ValueError``, on what it would look at for ever (pydicom 3.0)."""
    base.get_j2k_parameters = _bounded(base.get_j2k_parameters)


def _bounded(parameters: Callable[[bytes], dict[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    def bounded(frame: bytes) -> dict[str, Any]:
        if frame.startswith(_SIGNATURE):
            _check_boxes(frame)
        return parameters(frame)

    return bounded


def _check_boxes(frame: bytes) -> None:
    """Raise ``ValueError`` for a box shorter than its own head; so every look goes forward."""
    at = len(_SIGNATURE) + 4
    while at < len(frame) and frame[at + 4 : at + 8] != _CODESTREAM:
        length = int.from_bytes(frame[at : at + 4], "big")
        if length < _LEAST_BOX_BYTES:
            raise ValueError("a JP2 box has no length")
        at += length
