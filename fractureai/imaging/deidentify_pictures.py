"""Picture files without metadata: all that is not needed to see them goes, and what follows their end.

How a picture is to be turned and how oblong its pixels are is needed, and is written again on its own.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from fractureai.errors import RejectedInput
from fractureai.imaging import media, png
from fractureai.imaging.jpeg import APP0, APP1, APP14, APP15, COMMENT, SOS, parse_jpeg
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.picture_tags import EXIF_SIGNATURE, PictureTags, bare_exif, exif_tags
from fractureai.imaging.raster import jpeg_tags
from fractureai.imaging.stored_picture import StoredPicture
from fractureai.imaging.tiff import read_tiff

# Of PNG, also what says how its samples are meant.
_PNG_KEPT = png.PIXELS | {b"gAMA", b"sBIT", b"sRGB", b"cHRM"}
_JFIF_SEGMENT = struct.pack(">HH5sHBHHBB", 0xFFE0, 16, b"JFIF\0", 0x0101, 0, 1, 1, 0, 0)
_WEBP_KEPT = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_WEBP_METADATA = 0x2C  # EXIF, XMP, colour profile
_WEBP_EXIF = 0x08


def stripped_picture(data: bytes, media_type: str, limits: DecodeLimits) -> bytes:
    """The picture alone; of a TIFF, as PNG.

    Raises
    ------
    RejectedInput
        ``damaged`` or the reason for which the pixels cannot be read.
    """
    try:
        return _STRIPPERS[media_type](data, limits)
    except (RejectedInput, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise RejectedInput("too_many_pixels") from error
    except Exception as error:  # The parsers raise any built-in type on hostile bytes.
        raise RejectedInput("damaged", "its parts cannot be told apart") from error


def _jpeg(data: bytes, _: DecodeLimits) -> bytes:
    """The first picture, up to its own end: what follows may be another one with metadata of its own."""
    stream = parse_jpeg(data)
    ends = [*(segment.at for segment in stream.segments[1:]), stream.end]
    kept = [data[:2]]
    if any(stream.payloads(APP0, b"JFIF\0")):
        kept.append(_JFIF_SEGMENT)  # without the thumbnail that it may hold
    tags = jpeg_tags(stream)
    if tags != PictureTags():
        exif = EXIF_SIGNATURE + bare_exif(tags)
        kept.append(struct.pack(">HH", 0xFF00 | APP1, 2 + len(exif)) + exif)
    for segment, end in zip(stream.segments, ends, strict=True):
        is_metadata = segment.marker == COMMENT or (APP0 <= segment.marker <= APP15 and segment.marker != APP14)
        if not is_metadata:
            kept.append(data[segment.at : end])
    if not any(segment.marker == SOS for segment in stream.segments):
        raise ValueError("no scan")
    return b"".join(kept)


def _png(data: bytes, _: DecodeLimits) -> bytes:
    found: dict[bytes, memoryview] = {}
    for chunk in png.chunks(data):
        found.setdefault(chunk.name, chunk.payload)
    return png.with_tags(png.with_only(data, _PNG_KEPT), png.tags_of(found))


def _webp(data: bytes, _: DecodeLimits) -> bytes:
    parts = list(_webp_parts(data))
    tags = exif_tags(next((payload for name, payload in parts if name == b"EXIF"), None))
    kept, flags = [], 0
    for name, payload in parts:
        if name in {b"ANIM", b"ANMF"}:
            raise RejectedInput("multi_frame")
        if name in _WEBP_KEPT:
            kept.append(_webp_part(name, payload))
        elif name == b"VP8X":
            flags = payload[0] & ~_WEBP_METADATA
    if tags != PictureTags():
        flags |= _WEBP_EXIF
        kept.append(_webp_part(b"EXIF", bare_exif(tags)))
    if flags:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            width, height = image.size
        extent = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        kept.insert(0, _webp_part(b"VP8X", bytes([flags, 0, 0, 0]) + extent))
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_parts(data: bytes) -> list[tuple[bytes, bytes]]:
    """Chunks of the RIFF container, up to its end."""
    parts, at = [], 12
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > len(data):
            raise ValueError("cut off")
        parts.append((name, data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return parts


def _webp_part(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def _tiff(data: bytes, limits: DecodeLimits) -> bytes:
    """A TIFF keeps metadata wherever it likes, so only its pixels go on, as PNG."""
    stored = read_tiff(data, limits)
    return png.with_tags(imagecodecs.png_encode(_png_samples(stored), level=1), stored.tags)


def _png_samples(stored: StoredPicture) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Samples on the whole scale of their type, black at 0."""
    values, full = stored.values, (1 << (8 * stored.values.itemsize)) - 1
    top = (1 << stored.bits) - 1
    if stored.is_premultiplied or stored.is_inverted:
        values = stored.codes()
        values = (top - values).astype(values.dtype) if stored.is_inverted else values
    return values if top == full else (values * np.array(full // top, values.dtype)).astype(values.dtype)


_STRIPPERS: dict[str, Callable[[bytes, DecodeLimits], bytes]] = {
    media.JPEG: _jpeg,
    media.PNG: _png,
    media.WEBP: _webp,
    media.TIFF: _tiff,
}
