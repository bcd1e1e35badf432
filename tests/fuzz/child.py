"""What a decoding child that was taken over answers, as a function of bytes."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.domain.reasons import REASONS
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.imaging.decoder import ChildDecoder
from fractureai.imaging.deidentifier import ChildDeidentifier
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.process import Child
from fractureai.imaging.text import clean
from tests.fuzz.corpus import scratch

_LIMITS = DecodeLimits(max_bytes=100_000, long_side_px=64)
_MOST_DETAIL = 200


class _Played:
    """A process that has written all it will say, and reads nothing."""

    pid = 0
    returncode = 0

    def __init__(self, said: bytes) -> None:
        self.stdin = Path(os.devnull).open("wb")  # noqa: SIM115 -- as a process's pipes, closed by whoever asks it
        self.stdout = tempfile.TemporaryFile(dir=scratch())  # noqa: SIM115
        self.stdout.write(said)
        self.stdout.seek(0)

    def poll(self) -> None:
        """It runs."""

    def kill(self) -> None:
        """It is none."""

    def wait(self) -> int:
        """It has ended."""
        return 0


class _Decoder(ChildDecoder):
    said = b""

    def _warm(self) -> Child:
        if self._child is None:
            self._child = Child(_Played(self.said), _LIMITS.long_side_px**2)  # type: ignore[arg-type]
        return self._child


class _Book:
    def note(self, *_: str) -> None:
        """Nobody looks it up."""


class _Deidentifier(ChildDeidentifier):
    said = b""
    _warm = _Decoder._warm  # type: ignore[assignment]


@cache
def _readers() -> tuple[_Decoder, _Deidentifier, Path]:
    file = scratch() / "foreign.dcm"
    file.write_bytes(bytes(128) + b"DICM")
    made = _Deidentifier(_LIMITS, Pseudonyms(b"k" * 32), _Book(), shift_dates=True)  # type: ignore[arg-type]
    return _Decoder(_LIMITS), made, file


def read(data: bytes) -> None:
    """Whatever it says: the caller has a picture within its bounds and safe text, or a reason."""
    decoder, deidentifier, file = _readers()
    decoder.said = deidentifier.said = data
    with _reasons():
        image = decoder.decode(file)
        assert max(image.pixels.shape) <= _LIMITS.long_side_px**2, "a picture within its bounds"
        assert min(image.source_height_px, image.source_width_px) > 0, "a source has an extent"
        for text in image.header.to_json().values():
            assert clean(text) == text, "a header's text is one safe line"
    decoder.close()
    with _reasons():
        if (named := decoder.identify(file)) is not None:
            for text in asdict(named).values():
                assert clean(text) == text, "what an instance is called is one safe line"
    decoder.close()
    written: list[int] = []
    with _reasons():
        deidentifier.rewrite(file, "local", lambda piece: written.append(len(piece)))
    assert sum(written) <= _LIMITS.max_bytes + (2 << 20), "no more is written than may be"
    deidentifier.close()


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except RejectedInput as error:
        _check(error)
    except TransientFailure:
        pass


def _check(error: RejectedInput) -> None:
    assert error.code in REASONS, "a reason is known"
    assert clean(error.detail, _MOST_DETAIL) == error.detail, "a reason's particular is one safe line"


def _answers(*headers: dict[str, Any], pixels: bytes = b"") -> bytes:
    texts = [json.dumps(header).encode() for header in headers]
    return b"".join(struct.pack(">I", len(text)) + text for text in texts) + pixels


@cache
def seeds() -> tuple[bytes, ...]:
    """Honest answers, and what else an answer may be."""
    picture = {
        "ok": "image",
        "shape": [4, 5],
        "source": [40, 50],
        "spacing_mm": [0.1, 0.2],
        "header": {"media_type": "application/dicom", "patient_name": "A", "modality": "DX"},
        "dicom_context": "QUJD",
    }
    known: dict[str, Any] = {
        "ok": "identifiers",
        "patient_id": "P",
        "patient_name": "Doe, Jane",
        "patient_birth_date": "19700131",
        "accession_number": "A",
        "study_instance_uid": "1.2",
    }
    known["uids"] = ["1.2"]
    piece = {"ok": "piece", "shape": [1, 6]}
    return (
        _answers(picture, pixels=bytes(20)),
        _answers({"ok": "instance", "sop_instance_uid": "1.2.4", "study_instance_uid": "1.2.3"}),
        _answers(known, {"ok": "made", "size": 6}, piece, pixels=bytes(6)),
        _answers({"rejected": "damaged", "detail": "the DICOM elements cannot be parsed"}),
        _answers({"os_error": 2}),
        _answers(picture | {"source": [1e999, -1], "worn": True}),
    )
