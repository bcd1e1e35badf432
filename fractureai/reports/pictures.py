"""The pictures of a report: JPEG as it is stored, or made smaller, ready to be embedded without decoding it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

_MODERATE_BYTES = 160_000
_QUALITY = 85
_SMALLER_QUALITY = 75


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A JPEG with its extent. reportlab takes it as an image source: it asks for :meth:`jpeg_fh` and tells two pictures
    apart by their ``str``.
    """

    width_px: int
    height_px: int
    jpeg: bytes = field(repr=False)

    def __str__(self) -> str:
        return hashlib.sha256(self.jpeg).hexdigest()

    def jpeg_fh(self) -> BytesIO:
        """The bytes as a file."""
        return BytesIO(self.jpeg)


def read_picture(data: bytes | None, max_px: int) -> Picture | None:
    """Make one of our own artifacts ready for the report.

    A JPEG of moderate size is taken as it is. Anything else is encoded with a long side of at most ``max_px``, and once
    more at two thirds of it where grain makes that too large for a report to be mailed.

    Returns
    -------
    The picture; ``None`` if there is none or it cannot be read, for a report with a gap is better than no report.
    """
    if not data:
        return None
    try:
        with Image.open(BytesIO(data)) as image:
            if image.format == "JPEG" and len(data) <= _MODERATE_BYTES and image.mode in ("L", "RGB"):
                return Picture(image.width, image.height, data)
            mode = "L" if image.mode in ("1", "L", "LA", "I", "I;16", "F") else "RGB"
            image.draft(mode, (max_px, max_px))
            pixels = image.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture = _encode(pixels, max_px, _QUALITY)
    if len(picture.jpeg) > _MODERATE_BYTES:
        picture = _encode(pixels, 2 * max_px // 3, _SMALLER_QUALITY)
    return picture


def _encode(pixels: Image.Image, max_px: int, quality: int) -> Picture:
    if max(pixels.size) > max_px:
        scale = max_px / max(pixels.size)
        extent = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        pixels = pixels.resize(extent, Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = BytesIO()
    pixels.save(stream, "JPEG", quality=quality)
    return Picture(pixels.width, pixels.height, stream.getvalue())
