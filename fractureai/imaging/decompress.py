"""Compressed pictures to samples, by imagecodecs: JPEG of every common process, JPEG-LS, JPEG 2000 and HTJ2K.

The same function serves DICOM's encapsulated pictures and JPEG files. Before it decodes, it checks how much a picture
declares, and that a JPEG is whole: libjpeg fills what is missing with grey and does not say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput
from fractureai.imaging.codestream import JPEG_2000_SIZE, Coding, declared_samples
from fractureai.imaging.jpeg import FrameHeader, parse_jpeg

MOST_COMPONENTS = 3
# Start-of-frame markers that libjpeg-turbo decodes; the rest is hierarchical, or arithmetic and lossless.
_PROCESSES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA})


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A decompressed picture.

    Attributes
    ----------
    values:
        ``(H, W)`` or ``(H, W, 3)``, contiguous, uint8 or uint16, or signed where the stream says so; components are not
        converted.
    precision:
        Bits of a sample.
    is_rgb:
        Whether three components are red, green and blue, or luma and chroma; ``None`` if the stream does not say.
    """

    values: npt.NDArray[Any] = field(repr=False)
    precision: int
    is_rgb: bool | None = None


def decompress(stream: bytes, coding: Coding, max_pixels: int) -> Samples:
    """Decode one picture.

    Raises
    ------
    RejectedInput
        ``too_many_pixels``, ``unsupported_encoding``, ``colour_image`` (four components) or ``damaged``.
    """
    samples = declared_samples(stream, coding)
    if samples > max_pixels * MOST_COMPONENTS:
        raise RejectedInput("too_many_pixels", f"{samples} samples in the compressed data")
    try:
        return _DECODERS[coding](stream)
    except (RejectedInput, MemoryError):
        raise
    except Exception as error:  # The codecs raise any built-in type, and their own, on hostile bytes.
        raise RejectedInput("damaged", f"the {coding.value} picture cannot be decoded") from error


def _jpeg(stream: bytes) -> Samples:
    parsed = parse_jpeg(stream)
    frame = parsed.frame
    if frame.marker not in _PROCESSES:
        raise RejectedInput("unsupported_encoding", "hierarchical or arithmetic lossless JPEG")
    _check_components(frame.components)
    # Declaring the same colour space for both ends leaves the components as they are.
    space = {1: "GRAYSCALE", 3: "YCBCR"}[frame.components]
    values = imagecodecs.jpeg8_decode(memoryview(stream)[: parsed.end], colorspace=space, outcolorspace=space)
    return Samples(_checked(values, frame), frame.precision, parsed.is_rgb)


def _jpeg_ls(stream: bytes) -> Samples:
    frame = parse_jpeg(stream).frame
    _check_components(frame.components)
    return Samples(_checked(imagecodecs.jpegls_decode(stream), frame), frame.precision)


def _jpeg_2000(stream: bytes) -> Samples:
    """The codestream alone: a JP2 file's boxes around it, where DICOM wants none, are left out."""
    found = JPEG_2000_SIZE.search(stream)
    if found is None:
        raise ValueError("no codestream")
    _check_components(int.from_bytes(found[5], "big"))
    values = imagecodecs.jpeg2k_decode(memoryview(stream)[found.start() :])
    return Samples(np.ascontiguousarray(values), (found[6][0] & 0x7F) + 1)


def _check_components(count: int) -> None:
    if count == 4:
        raise RejectedInput("colour_image", "four components")
    if count not in {1, 3}:
        raise RejectedInput("unsupported_encoding", f"{count} components")


def _checked(values: npt.NDArray[Any], frame: FrameHeader) -> npt.NDArray[Any]:
    shape = (frame.height_px, frame.width_px, frame.components)
    if values.shape != (shape if frame.components > 1 else shape[:2]):
        raise ValueError(f"declared {shape}, decoded {values.shape}")
    return np.ascontiguousarray(values)


_DECODERS: dict[Coding, Callable[[bytes], Samples]] = {
    Coding.JPEG: _jpeg,
    Coding.JPEG_LS: _jpeg_ls,
    Coding.JPEG_2000: _jpeg_2000,
}
