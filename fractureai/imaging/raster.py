"""PNG, JPEG, TIFF and WebP: greyscale radiographs exported as pictures.

Pillow alone decodes; it refuses what it does not know, and its formats are restricted to the one the magic bytes name.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from fractureai.domain.radiograph import Header, Radiograph
from fractureai.errors import RejectedInput
from fractureai.imaging import media, normalise
from fractureai.imaging.colour import grey_of_colour
from fractureai.imaging.extent import check_extent
from fractureai.imaging.limits import DecodeLimits

_FORMATS = {media.PNG: "PNG", media.JPEG: "JPEG", media.TIFF: "TIFF", media.WEBP: "WEBP"}

# Modes whose array Pillow gives as it is; the others are converted first.
_SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_COLOUR_SPACES = frozenset({"CMYK", "LAB", "HSV"})
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0

# EXIF orientation to (transpose first, flip rows, flip columns).
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024 * 1024


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
        With the reason; any error of Pillow is ``damaged``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with _opened(data, media_type) as image:
                width, height = image.size
                check_extent(height, width, limits)
                refuse_animation(image)
                pixels, (height, width) = _grey(image, limits.long_side_px)
        except (RejectedInput, MemoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise RejectedInput("too_many_pixels") from error
        except UnidentifiedImageError as error:
            raise RejectedInput("damaged", f"no readable {_FORMATS[media_type]} header") from error
        except Exception as error:  # Pillow's plug-ins raise any built-in type on hostile bytes; all mean the same.
            raise RejectedInput("damaged", f"{_FORMATS[media_type]} data cannot be decoded") from error
    return Radiograph(pixels, height, width, Header(media_type))


def _opened(data: bytes, media_type: str) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=[_FORMATS[media_type]])


def refuse_animation(image: Image.Image) -> None:
    """Refuse a second frame or page, without counting all of them: a TIFF may chain its pages endlessly."""
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return
    raise RejectedInput("multi_frame")


def _grey(image: Image.Image, long_side_px: int) -> tuple[normalise.Grey, tuple[int, int]]:
    """The picture upright at its final size, and the height and width of the upright source."""
    inverted = image.mode in _SIXTEEN_BIT and _tag(image, _TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    orientation = _orientation(image)
    values = _values(image)
    if inverted:  # Pillow inverts 8-bit TIFF by itself, 16-bit TIFF not.
        values = np.uint16(65535) - values
    values = _upright(values, orientation)
    if values.dtype == np.uint8:
        pixels = normalise.grey_from_8_bit(values, long_side_px)
    elif values.dtype == np.uint16:
        pixels = normalise.grey_from_16_bit(values, long_side_px)
    else:
        pixels = normalise.grey_from_float(values, long_side_px)
    return pixels, (values.shape[0], values.shape[1])


def _values(image: Image.Image) -> npt.NDArray[Any]:
    """``(H, W)`` uint8, uint16, int32 or float32."""
    if image.mode in _COLOUR_SPACES:
        raise RejectedInput("colour_image", image.mode)
    if image.format == "JPEG" and image.mode == "RGB":
        # Luma and chroma as stored: the grey levels come without a round trip through RGB, and faster.
        image.draft("YCbCr", image.size)
    image.load()
    if image.mode in _SIXTEEN_BIT:
        return np.asarray(image).astype(np.uint16, copy=False)
    if image.mode in {"L", "I", "F"}:
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "YCbCr":
        return grey_of_colour(np.asarray(image), luma_first=True)
    if image.mode == "RGB":
        return grey_of_colour(np.asarray(image), luma_first=False)
    flat = np.asarray(image.convert("RGBA"))
    return _over_black(grey_of_colour(flat[..., :3], luma_first=False), flat[..., 3])


def _over_black(grey: normalise.Grey, alpha: normalise.Grey) -> normalise.Grey:
    if alpha.min() == 255:
        return grey
    return ((grey.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def _upright(values: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    if orientation not in _ORIENTATIONS:
        return values
    transpose, flip_rows, flip_columns = _ORIENTATIONS[orientation]
    turned = values.T if transpose else values
    return np.ascontiguousarray(turned[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or it cannot be read, which is no reason to refuse the picture."""
    with contextlib.suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _tag(image: Image.Image, number: int) -> int | None:
    return getattr(image, "tag_v2", {}).get(number)
