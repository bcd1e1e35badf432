"""How a stored grid becomes the grid of the picture: turned upright, its pixels square, of bounded size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]

_SQUARE_TOLERANCE = 0.01
_MOST_OBLONG = 4.0
"""No detector or scanner has pixels more oblong than this; such a ratio is a wrong tag and is left out."""

# TIFF and EXIF orientation to (transpose first, flip rows, flip columns).
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn ``(H, W)`` or ``(H, W, C)`` pixels as the orientation 1..8 asks (TIFF 6.0, tag 274); else as they are."""
    if orientation not in _ORIENTATIONS:
        return pixels
    transpose, flip_rows, flip_columns = _ORIENTATIONS[orientation]
    turned = pixels.swapaxes(0, 1) if transpose else pixels
    return np.ascontiguousarray(turned[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def upright_aspect(aspect: float, orientation: int) -> float:
    """The aspect of pixels after :func:`upright`: rows and columns change places in half of the orientations."""
    return 1.0 / aspect if _ORIENTATIONS.get(orientation, (False,))[0] else aspect


def pixel_aspect(row_spacing: float, column_spacing: float) -> float:
    """Height of a pixel divided by its width; 1 where that is nearly so, or beyond belief."""
    aspect = row_spacing / column_spacing
    is_square = abs(aspect - 1.0) <= _SQUARE_TOLERANCE
    return 1.0 if is_square or not 1 / _MOST_OBLONG <= aspect <= _MOST_OBLONG else aspect


def fit_square(pixels: Grey, aspect: float, long_side_px: int) -> Grey:
    """Bring a picture to square pixels and bounded size.

    Parameters
    ----------
    pixels:
        ``(H, W)`` uint8.
    aspect:
        Height of a pixel divided by its width.
    long_side_px:
        Limit of the result's long side.

    Returns
    -------
    ``(h, w)`` uint8. The finer side keeps its pixels, the coarser one is interpolated, unless the limit makes both
    smaller: shrinking averages, which dims a thin lucent line but keeps it.
    """
    height, width = pixels.shape
    tall, wide = height * max(aspect, 1.0), width * max(1.0 / aspect, 1.0)
    scale = min(1.0, long_side_px / max(tall, wide))
    rows, columns = max(1, round(tall * scale)), max(1, round(wide * scale))
    fewer = (min(rows, height), min(columns, width))
    if fewer != (height, width):
        pixels = cv2.resize(pixels, fewer[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if fewer != (rows, columns):
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return np.ascontiguousarray(pixels)
