"""PNG, JPEG, TIFF and WebP: greyscale radiographs exported as pictures, decoded at all the bits they have."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
from PIL import Image

from fractureai.domain.radiograph import Header, Radiograph
from fractureai.errors import RejectedInput
from fractureai.imaging import media, png
from fractureai.imaging.codestream import Coding
from fractureai.imaging.decompress import decompress
from fractureai.imaging.extent import check_extent
from fractureai.imaging.jpeg import APP0, APP1, APP2, JpegStream, parse_jpeg
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.picture_tags import EXIF_SIGNATURE, PictureTags, exif_tags, of_resolution
from fractureai.imaging.stored_picture import StoredPicture
from fractureai.imaging.tiff import read_tiff

_LOSSLESS = 0xC3
_MOST_PICTURES = 16
_XMP, _MULTI_PICTURE = b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
_GAIN_MAP_XMP = (b"hdrgm:", b"HDRGainMap")
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1"


def read_raster(data: bytes, media_type: str, limits: DecodeLimits) -> Radiograph:
    """Decode one picture.

    Parameters
    ----------
    data:
        The whole file.
    media_type:
        By content, one of :mod:`fractureai.imaging.media`.
    limits:
        Checked on the header, before any pixel is decoded.

    Raises
    ------
    RejectedInput
        With the reason; any error of a decoder is ``damaged``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stored = _READERS[media_type](data, limits)
            pixels, (height, width) = stored.picture(limits.long_side_px)
        except (RejectedInput, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise RejectedInput("too_many_pixels") from error
        except Exception as error:  # The decoders raise any built-in type on hostile bytes; all mean the same.
            raise RejectedInput("damaged", f"{media.NAMES[media_type]} data cannot be decoded") from error
    return Radiograph(pixels, height, width, Header(media_type))


def _read_png(data: bytes, limits: DecodeLimits) -> StoredPicture:
    """Only the chunks that hold pixels reach the decoder."""
    found: dict[bytes, memoryview] = {}
    for chunk in png.chunks(data):
        found.setdefault(chunk.name, chunk.payload)
    width, height = struct.unpack_from(">II", found[b"IHDR"])
    if width == 0 or height == 0:
        raise RejectedInput("damaged", "a PNG without extent")
    check_extent(height, width, limits)
    if b"acTL" in found and b"fdAT" in found:
        raise RejectedInput("multi_frame")
    values = imagecodecs.png_decode(png.with_only(data, png.PIXELS))
    return StoredPicture(values, 8 * values.itemsize, tags=png.tags_of(found))


def _read_jpeg(data: bytes, limits: DecodeLimits) -> StoredPicture:
    stream = parse_jpeg(data)
    frame = stream.frame
    if frame.width_px == 0 or frame.height_px == 0:
        raise RejectedInput("damaged", "a JPEG without extent")
    check_extent(frame.height_px, frame.width_px, limits)
    _refuse_more_pictures(data, stream)
    samples = decompress(data[: stream.end], Coding.JPEG, limits.max_pixels)
    is_rgb = samples.is_rgb if samples.is_rgb is not None else frame.marker == _LOSSLESS
    return StoredPicture(samples.values, samples.precision, is_luma_first=not is_rgb, tags=jpeg_tags(stream))


def jpeg_tags(stream: JpegStream) -> PictureTags:
    """Orientation by EXIF; aspect by JFIF or, where that says nothing, by EXIF."""
    tags = exif_tags(next(stream.payloads(APP1, EXIF_SIGNATURE), None))
    for jfif in stream.payloads(APP0, b"JFIF\0"):
        if len(jfif) >= 7:
            aspect = of_resolution(*struct.unpack_from(">HH", jfif, 3))
            return tags if aspect == 1.0 else PictureTags(tags.orientation, aspect)
    return tags


def _refuse_more_pictures(data: bytes, first: JpegStream) -> None:
    """Refuse a multi-picture file (CIPA DC-007) that holds more than gain maps and smaller copies."""
    if not any(first.payloads(APP2, _MULTI_PICTURE)):
        return
    for other in _later_pictures(data, first.end):
        is_smaller = other.frame.width_px < first.frame.width_px and other.frame.height_px < first.frame.height_px
        if not is_smaller and not _is_gain_map(other):
            raise RejectedInput("multi_frame")


def _later_pictures(data: bytes, at: int) -> Iterator[JpegStream]:
    for _ in range(_MOST_PICTURES):
        at = data.find(b"\xff\xd8\xff", at)
        if at < 0:
            return
        stream = parse_jpeg(data, at)
        yield stream
        at = stream.end


def _is_gain_map(stream: JpegStream) -> bool:
    """Marked by Adobe's or Apple's metadata, or by ISO 21496-1."""
    if any(stream.payloads(APP2, _GAIN_MAP)):
        return True
    return any(mark in xmp for xmp in stream.payloads(APP1, _XMP) for mark in _GAIN_MAP_XMP)


def _read_webp(data: bytes, limits: DecodeLimits) -> StoredPicture:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        check_extent(image.height, image.width, limits)
        if getattr(image, "n_frames", 1) > 1:
            raise RejectedInput("multi_frame")
        tags = exif_tags(image.info.get("exif"))
        return StoredPicture(np.asarray(image), 8, tags=tags)


_READERS: dict[str, Callable[[bytes, DecodeLimits], StoredPicture]] = {
    media.PNG: _read_png,
    media.JPEG: _read_jpeg,
    media.TIFF: read_tiff,
    media.WEBP: _read_webp,
}
