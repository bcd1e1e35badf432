"""TIFF and BigTIFF to samples, by tifffile; the codecs within it are imagecodecs'."""

from __future__ import annotations

import io
import logging
import math
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffPage

from fractureai.errors import RejectedInput
from fractureai.imaging import grayscale
from fractureai.imaging.codestream import Coding, declared_samples
from fractureai.imaging.decompress import MOST_COMPONENTS
from fractureai.imaging.extent import check_extent
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.picture_tags import PictureTags, of_resolution, valid_orientation
from fractureai.imaging.stored_picture import StoredPicture

logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

_COMPRESSIONS = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.CCITTRLE,
        COMPRESSION.CCITT_T4,
        COMPRESSION.CCITT_T6,
        COMPRESSION.LZW,
        COMPRESSION.JPEG,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
    }
)
_GREY = frozenset({PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK})
# tifffile gives the RGB of YCbCr.
_COLOURS = frozenset({PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR})
_REDUCED, _MASK = 1, 4
_MOST_PAGES = 16
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION = 274, 282, 283
_RANGE_PERCENTILES = (0.05, 99.95)
_BLACKER = 0.05
"""How much of its range black is assumed to be below the darkest value of a picture with negative ones."""


def read_tiff(data: bytes, limits: DecodeLimits) -> StoredPicture:
    """Decode the one picture of a file; thumbnails and masks that are marked as such are left out.

    Raises
    ------
    RejectedInput
        With the reason. tifffile may raise any built-in type besides.
    """
    with TiffFile(io.BytesIO(data)) as file:
        page = _only_page(file)
        if page.imagelength == 0 or page.imagewidth == 0:
            raise RejectedInput("damaged", "a TIFF without extent")
        check_extent(page.imagelength, page.imagewidth, limits)
        _refuse_unsupported(page)
        _refuse_incomplete(page, data, limits)
        values = page.asarray(maxworkers=1)
        if values.dtype != page.dtype or values.shape != page.shape:
            raise RejectedInput("damaged", "the TIFF holds fewer pixels than it says")
        return _stored(page, values)


def _only_page(file: TiffFile) -> TiffPage:
    """The page at full resolution, without counting all of them: a file may chain its pages endlessly."""
    found: dict[int, TiffPage] = {}
    for page in islice(file.pages, _MOST_PAGES):
        if isinstance(page, TiffPage) and not page.subfiletype & (_REDUCED | _MASK):
            found[page.offset] = page
        if len(found) > 1:
            raise RejectedInput("multi_frame")
    return next(iter(found.values())) if found else file.pages.first


def _refuse_unsupported(page: TiffPage) -> None:
    if page.photometric not in _GREY | _COLOURS | {PHOTOMETRIC.PALETTE}:
        raise RejectedInput("colour_image", PHOTOMETRIC(page.photometric).name)
    if page.compression not in _COMPRESSIONS:
        raise RejectedInput("unsupported_encoding", f"TIFF with {COMPRESSION(page.compression).name} compression")
    if page.dtype is None:
        raise RejectedInput("unsupported_encoding", f"TIFF with {page.bitspersample} bits per sample")
    if page.samplesperpixel > MOST_COMPONENTS + 1 or page.axes not in {"YX", "YXS", "SYX"}:
        raise RejectedInput("unsupported_encoding", f"TIFF with {page.samplesperpixel} samples per pixel")


def _refuse_incomplete(page: TiffPage, data: bytes, limits: DecodeLimits) -> None:
    """Tifffile shows strips that are missing as black."""
    counts = page.databytecounts
    if len(counts) < math.prod(page.chunked) or not all(counts) or not all(page.dataoffsets):
        raise RejectedInput("damaged", "parts of the TIFF are missing")
    if page.compression != COMPRESSION.JPEG:
        return
    if declared_samples(data, Coding.JPEG) > limits.max_pixels * MOST_COMPONENTS:
        raise RejectedInput("too_many_pixels", "in the compressed data")
    for start, count in zip(page.dataoffsets, counts, strict=True):
        if b"\xff\xd9" not in data[start : start + count]:
            raise RejectedInput("damaged", "a JPEG within the TIFF is cut off")


def _stored(page: TiffPage, values: npt.NDArray[Any]) -> StoredPicture:
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    colours = MOST_COMPONENTS if page.photometric in _COLOURS else 1
    extra = page.extrasamples[:1]
    bits = int(page.bitspersample)
    if page.photometric == PHOTOMETRIC.PALETTE:
        colormap = np.moveaxis(page.colormap, 0, -1)
        if not (colormap & 0xFF).any():  # 8 bits in the upper half, where the standard wants the whole scale
            colormap = (colormap >> 8).astype(np.uint8)
        values, bits, extra = colormap[values.reshape(values.shape[:2])], 8 * colormap.itemsize, ()
        colours = MOST_COMPONENTS
    if values.ndim == 3:
        has_alpha = extra in ((EXTRASAMPLE.ASSOCALPHA,), (EXTRASAMPLE.UNASSALPHA,))
        values = values[..., : colours + has_alpha]
        if values.shape[-1] < colours:
            raise RejectedInput("damaged", "too few samples per pixel")
    if values.dtype not in (np.uint8, np.uint16):
        values = _quantised(values)
        bits = 8 * values.itemsize
    return StoredPicture(
        values=np.ascontiguousarray(values),
        bits=bits,
        is_inverted=page.photometric == PHOTOMETRIC.MINISWHITE,
        is_premultiplied=extra == (EXTRASAMPLE.ASSOCALPHA,),
        tags=PictureTags(valid_orientation(page.tags.valueof(_ORIENTATION, 1)), _aspect(page)),
    )


def _aspect(page: TiffPage) -> float:
    pairs = [page.tags.valueof(tag, (0, 1)) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    x_per_unit, y_per_unit = (above / below if below else 0.0 for above, below in pairs)
    return of_resolution(x_per_unit, y_per_unit)


def _quantised(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values of other types to unsigned ones.

    Signed integers of 8 and 16 bits and floats from 0 to 1 keep their scale. That of others is not known; their range
    is put into its lower half, so that it is spread like any that is mostly empty. Outliers take no part.
    """
    if values.ndim != 2:
        raise RejectedInput("unsupported_encoding", "colours that are neither 8 nor 16 bits")
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype in (np.int8, np.int16):
        unsigned = np.ascontiguousarray(values).view(f"u{values.itemsize}")
        return unsigned ^ np.array(1 << (8 * values.itemsize - 1), unsigned.dtype)  # type: ignore[no-any-return]
    if not np.isfinite(values).all():
        raise RejectedInput("blank_image")
    low, high = (float(value) for value in np.percentile(grayscale.grid(values), _RANGE_PERCENTILES))
    if not low < high:
        raise RejectedInput("blank_image")
    black = 0.0 if low >= 0 else low - _BLACKER * (high - low)
    is_unit = values.dtype.kind == "f" and black == 0.0 and high <= 1.0 < 256 * high
    white = 1.0 if is_unit else black + 2 * (high - black)
    scaled = (values.astype(np.float64) - black) * (65535.0 / (white - black))
    return np.clip(np.rint(scaled), 0, 65535).astype(np.uint16)
