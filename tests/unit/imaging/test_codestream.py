"""What a compressed picture says of its own size."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from imagecodecs import jpeg2k_encode
from PIL import Image

from fractureai.imaging.codestream import Coding, declared_samples


def _jpeg(picture: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", **options)
    return stream.getvalue()


def _frame(lines: int, columns: int, components: int, marker: int = 0xC0) -> bytes:
    head = struct.pack(">HBHHB", 8 + 3 * components, 8, lines, columns, components)
    return bytes([0xFF, marker]) + head + bytes(3 * components)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 3}])
def test_a_jpeg_says_what_it_is(options: dict[str, object]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (37, 52), dtype=np.uint8)
    assert declared_samples(_jpeg(noise, **options), Coding.JPEG) == 37 * 52
    assert declared_samples(_jpeg(np.stack([noise] * 3, axis=-1), **options), Coding.JPEG) == 37 * 52 * 3


def test_a_jpeg_2000_says_what_it_is() -> None:
    noise = np.random.default_rng(1).integers(0, 4096, (40, 64), dtype=np.uint16)
    assert (
        declared_samples(jpeg2k_encode(noise, codecformat="j2k", reversible=True, level=0), Coding.JPEG_2000) == 40 * 64
    )


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCE, 0xDE, 0xF7])
def test_the_largest_declaration_counts_wherever_it_stands(marker: int) -> None:
    behind = _frame(60_000, 50_000, 3, marker)
    picture = _jpeg(np.zeros((16, 16), np.uint8)) + b"any" + behind
    assert declared_samples(picture, Coding.JPEG_LS) == 60_000 * 50_000 * 3


def test_lines_that_are_told_later_are_as_many_as_can_be() -> None:
    assert declared_samples(_frame(0, 1000, 1), Coding.JPEG) == 65_535 * 1000


@pytest.mark.parametrize(
    "nothing", [b"", b"\xff\xd8\xff\xd9", _frame(100, 100, 1)[:-4], b"\xff\x4f\xff\x51" + bytes(9)]
)
def test_what_declares_nothing_has_no_samples(nothing: bytes) -> None:
    assert declared_samples(nothing, Coding.JPEG) == 0
    assert declared_samples(nothing, Coding.JPEG_2000) == 0


def test_a_frame_of_another_length_is_none() -> None:
    assert declared_samples(b"\xff\xc0\x00\x20" + _frame(100, 100, 1)[4:], Coding.JPEG) == 0


def test_a_grid_that_ends_before_it_begins_is_empty() -> None:
    size = struct.pack(">HHIIII", 41, 0, 100, 100, 200, 0) + bytes(16) + struct.pack(">H", 1)
    assert declared_samples(b"\xff\x4f\xff\x51" + size, Coding.JPEG_2000) == 0
