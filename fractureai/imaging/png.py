"""The chunks of a PNG (ISO/IEC 15948), without decoding it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fractureai.imaging.picture_tags import PictureTags, bare_exif, exif_tags, of_resolution

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
"""Chunks without which the samples cannot be decoded; all others may be left out."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's name, what it holds, and the whole of it with length and checksum."""

    name: bytes
    payload: memoryview = field(repr=False)
    whole: memoryview = field(repr=False)


def chunks(data: bytes) -> Iterator[Chunk]:
    """Every chunk up to the last. Raises ``ValueError`` or ``struct.error`` for what is cut off or is none."""
    view, at = memoryview(data), len(SIGNATURE)
    if not data.startswith(SIGNATURE):
        raise ValueError("no PNG")
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("cut off")
        yield Chunk(name, view[at + 8 : end - 4], view[at:end])
        if name == b"IEND":
            return
        at = end


def with_only(data: bytes, names: Iterable[bytes]) -> bytes:
    """The same picture with no other chunks than these."""
    kept = frozenset(names)
    return b"".join([SIGNATURE, *(chunk.whole for chunk in chunks(data) if chunk.name in kept)])


def tags_of(found: dict[bytes, memoryview]) -> PictureTags:
    """Orientation and aspect, from the first chunks of each name."""
    tags = exif_tags(bytes(found.get(b"eXIf", b"")))
    physical = found.get(b"pHYs")
    if physical is not None and len(physical) == 9:
        return PictureTags(tags.orientation, of_resolution(*struct.unpack_from(">II", physical)))
    return tags


def with_tags(data: bytes, tags: PictureTags) -> bytes:
    """The same picture with a chunk that says these tags, and what says any taken out."""
    bare = [bytes(chunk.whole) for chunk in chunks(data) if chunk.name not in {b"eXIf", b"pHYs"}]
    if tags != PictureTags():
        exif = bare_exif(tags)
        body = b"eXIf" + exif
        bare.insert(1, struct.pack(">I", len(exif)) + body + struct.pack(">I", zlib.crc32(body)))
    return SIGNATURE + b"".join(bare)
