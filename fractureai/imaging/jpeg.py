"""The marker segments of a JPEG or JPEG-LS stream (ITU-T T.81 annex B, T.87 annex C), without decoding it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

SOI, EOI, SOS, COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
APP0, APP1, APP2, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# In entropy-coded data 0xFF is followed by 0 (JPEG), by less than 0x80 (JPEG-LS) or by a restart marker.
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]", re.DOTALL)
_RGB_IDS = frozenset({b"RGB", b"rgb"})


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker, what it holds, and where in the stream it starts; a scan's entropy-coded data follow its segment."""

    marker: int
    payload: bytes = field(repr=False)
    at: int


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a stream says about its picture (T.81 B.2.2)."""

    marker: int
    precision: int
    height_px: int
    width_px: int
    component_ids: bytes

    @property
    def components(self) -> int:
        """Samples per pixel."""
        return len(self.component_ids)


@dataclass(frozen=True)
class JpegStream:
    """One whole picture: its segments and where it ends, behind the end-of-image marker."""

    segments: tuple[Segment, ...]
    end: int

    @cached_property
    def frame(self) -> FrameHeader:
        """The first frame header. Raises ``ValueError`` if there is none."""
        for segment in self.segments:
            if segment.marker in _FRAMES and len(segment.payload) >= 6:
                precision, lines, columns, count = struct.unpack_from(">BHHB", segment.payload)
                ids = segment.payload[6::3][:count]
                if len(segment.payload) >= 6 + 3 * count == 6 + 3 * len(ids):
                    return FrameHeader(segment.marker, precision, lines, columns, ids)
        raise ValueError("no frame header")

    def payloads(self, marker: int, signature: bytes) -> Iterator[bytes]:
        """What segments of this marker hold behind the signature they start with."""
        for segment in self.segments:
            if segment.marker == marker and segment.payload.startswith(signature):
                yield segment.payload[len(signature) :]

    @property
    def is_rgb(self) -> bool | None:
        """Whether three components are red, green and blue, or luma and chroma; ``None`` if the stream does not say."""
        if any(self.payloads(APP0, b"JFIF\0")):
            return False
        for adobe in self.payloads(APP14, b"Adobe"):
            if len(adobe) >= 7:
                return adobe[6] == 0
        return True if self.frame.component_ids in _RGB_IDS else None


def parse_jpeg(data: bytes, start: int = 0) -> JpegStream:
    """Find the segments from the start-of-image marker at ``start`` to the matching end-of-image marker.

    Raises
    ------
    ValueError
        The stream is cut off or is not one: without this check a decoder fills what is missing with grey.
    """
    if data[start : start + 2] != b"\xff\xd8":
        raise ValueError("no start of image")
    at, segments = start + 2, []
    while True:
        if data[at : at + 1] != b"\xff":
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker == EOI:
            return JpegStream(tuple(segments), at + 2)
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            end = at + 2 + length
            if length < 2 or end > len(data):
                raise ValueError("cut off")
            segments.append(Segment(marker, data[at + 4 : end], at))
            at = end if marker != SOS else _end_of_scan(data, end)


def _end_of_scan(data: bytes, start: int) -> int:
    found = _MARKER.search(data, start)
    if found is None:
        raise ValueError("cut off within a scan")
    return found.start()
