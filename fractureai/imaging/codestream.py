"""How large a compressed picture says it is itself: more, it may be, than the header around it says."""

from __future__ import annotations

import re
from enum import Enum


class Coding(Enum):
    """A family of compressed pictures."""

    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


# ITU-T T.81 B.2.2, T.87 C.2.2 (JPEG-LS): start of frame, length, precision, lines, samples per line, components.
_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xde\xf7](..).(..)(..)(.)", re.DOTALL)
# ISO/IEC 15444-1 A.5.1: start, size: length, capabilities, extent and offset of the grid, of a tile, components, and
# the first component's sign and depth.
JPEG_2000_SIZE = re.compile(rb"\xff\x4f\xff\x51....(....)(....)(....)(....).{16}(..)(.)", re.DOTALL)
_ANY_LINES = 0xFFFF  # 0 lines: their number comes behind the picture (T.81 B.2.5)


def _jpeg(codestream: bytes) -> list[int]:
    found = (map(_number, match.groups()) for match in _JPEG_FRAME.finditer(codestream))
    return [
        (lines or _ANY_LINES) * columns * components
        for length, lines, columns, components in found
        if length == 8 + 3 * components
    ]


def _jpeg_2000(codestream: bytes) -> list[int]:
    found = (map(_number, match.groups()[:5]) for match in JPEG_2000_SIZE.finditer(codestream))
    return [max(0, right - left) * max(0, bottom - top) * components for right, bottom, left, top, components in found]


def _number(field: bytes) -> int:
    return int.from_bytes(field, "big")


_DECLARED = {Coding.JPEG: _jpeg, Coding.JPEG_LS: _jpeg, Coding.JPEG_2000: _jpeg_2000}


def declared_samples(codestream: bytes, coding: Coding) -> int:
    """The most samples, of all components together, that a picture declares; 0: no declaration found.

    Every place that looks like a declaration counts, also where no decoder that keeps to the standard would look: which
    one counts for a decoder that resynchronises is not ours to guess. Compressed samples cannot look like one.
    """
    return max(_DECLARED[coding](codestream), default=0)
