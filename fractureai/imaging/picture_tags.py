"""What a picture file says about its own geometry: how it is to be turned, and how oblong its pixels are."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass

from PIL import ExifTags, Image

from fractureai.imaging.geometry import pixel_aspect

EXIF_SIGNATURE = b"Exif\0\0"


@dataclass(frozen=True, slots=True)
class PictureTags:
    """Orientation 1..8 (TIFF tag 274), and height of a stored pixel divided by its width."""

    orientation: int = 1
    aspect: float = 1.0


def of_resolution(x_per_unit: float, y_per_unit: float) -> float:
    """The aspect of pixels of which so many make a unit of width and of height; 1 for what is not positive."""
    return pixel_aspect(x_per_unit, y_per_unit) if x_per_unit > 0 and y_per_unit > 0 else 1.0


def exif_tags(exif: bytes | None) -> PictureTags:
    """Read EXIF, with or without its signature. What cannot be read is left out: no reason to refuse a picture."""
    orientation, aspect = 1, 1.0
    if exif:
        with contextlib.suppress(Exception):
            found = Image.Exif()
            found.load(exif)
            orientation = valid_orientation(found.get(ExifTags.Base.Orientation, 1))
            x_per_unit = float(found.get(ExifTags.Base.XResolution, 0))
            aspect = of_resolution(x_per_unit, float(found.get(ExifTags.Base.YResolution, 0)))
    return PictureTags(orientation, aspect)


def valid_orientation(value: object) -> int:
    """1..8; 1 for anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def bare_exif(tags: PictureTags) -> bytes:
    """EXIF, without its signature, that says these tags and nothing else."""
    x_per_unit = round(1000 * tags.aspect)
    entries = (
        struct.pack(">HHIHH", ExifTags.Base.Orientation, 3, 1, tags.orientation, 0),
        struct.pack(">HHII", ExifTags.Base.XResolution, 5, 1, 50),
        struct.pack(">HHII", ExifTags.Base.YResolution, 5, 1, 58),
    )
    head = struct.pack(">2sHIH", b"MM", 42, 8, len(entries))
    return head + b"".join(entries) + struct.pack(">I4I", 0, x_per_unit, 1, 1000, 1)
