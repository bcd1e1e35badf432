"""From a coarse attention map to what is shown: a relative map over the image, and a region of interest.

The map says where the network's evidence lies, not where a fracture ends; it is shown as attention and never as a
detection box (Saporta et al. 2022 measured how much coarser such maps are than a radiologist's outline).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import Placement

_SHARE_OF_PEAK = 0.5
"""The region of interest is where the attention reaches half of its peak (as in CAM, Zhou et al. 2016)."""

_MIN_SIDE = 0.08
"""Smallest side of the region as a share of the image's long side: a smaller crop shows no anatomy."""

_FINER = 4
"""The map is stretched this much before its hot spot is outlined."""


def relative_attention(attention: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rectify a Grad-CAM map and scale its peak to 1; all zero where nothing speaks for the class.

    ``attention``: float32 of any shape. The result has the same shape and lies in 0..1.
    """
    positive: npt.NDArray[np.float32] = np.maximum(np.asarray(attention, np.float32), np.float32(0))
    peak = np.float32(positive.max(initial=0.0))
    return np.divide(positive, peak, dtype=np.float32) if peak > 0 else positive


def roi_from_attention(attention: npt.NDArray[np.float32], placement: Placement) -> tuple[int, int, int, int] | None:
    """Box the hot spot that holds the peak of the attention.

    Parameters
    ----------
    attention:
        ``(h, w)`` float32 over the canvas the image was placed on, any scale.

    Returns
    -------
    ``(x0, y0, x1, y1)`` in image px, origin at the outer top-left corner, ``x1`` and ``y1`` exclusive; ``None`` if no
    attention is positive.
    """
    import cv2  # heavy, and not every process that knows this module looks at pictures

    relative = relative_attention(attention)
    if not relative.any():
        return None
    rows, columns = attention.shape
    fine = cv2.resize(relative, (columns * _FINER, rows * _FINER), interpolation=cv2.INTER_LINEAR)
    peak_row, peak_column = np.unravel_index(int(fine.argmax()), fine.shape)
    _, labels = cv2.connectedComponents((fine >= _SHARE_OF_PEAK * float(fine.max())).astype(np.uint8))
    spot_rows, spot_columns = np.nonzero(labels == labels[peak_row, peak_column])
    gain_x, gain_y = placement.canvas.width_px / fine.shape[1], placement.canvas.height_px / fine.shape[0]
    spot = [spot_columns.min() * gain_x, spot_rows.min() * gain_y,
            (spot_columns.max() + 1) * gain_x, (spot_rows.max() + 1) * gain_y]  # fmt: skip
    x0, y0, x1, y1 = (float(value) for value in placement.to_image(np.array([spot], np.float32))[0])
    height, width = placement.image_height_px, placement.image_width_px
    least = _MIN_SIDE * max(height, width)
    (left, right), (top, bottom) = _span(x0, x1, least, width), _span(y0, y1, least, height)
    return int(left), int(top), max(int(left) + 1, round(right)), max(int(top) + 1, round(bottom))


def clipped_box(box: tuple[float, float, float, float], height_px: int, width_px: int) -> tuple[int, int, int, int]:
    """The whole px that a box covers within an image: at least one, ``x1`` and ``y1`` exclusive."""
    x0, y0 = min(max(0, int(box[0])), width_px - 1), min(max(0, int(box[1])), height_px - 1)
    return x0, y0, max(x0 + 1, min(width_px, math.ceil(box[2]))), max(y0 + 1, min(height_px, math.ceil(box[3])))


def widened(box: tuple[int, int, int, int], height_px: int, width_px: int) -> tuple[int, int, int, int]:
    """A box with half of its size around it, and no smaller than shows anatomy, within the image."""
    x0, y0, x1, y1 = box
    least = 2 * _MIN_SIDE * max(height_px, width_px)
    left, right = _span(x0 - (x1 - x0) / 2, x1 + (x1 - x0) / 2, least, width_px)
    top, bottom = _span(y0 - (y1 - y0) / 2, y1 + (y1 - y0) / 2, least, height_px)
    return clipped_box((left, top, right, bottom), height_px, width_px)


def rescale_box(
    box: tuple[int, int, int, int], from_px: tuple[int, int], to_px: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Carry a box from one pixel grid of an image to another; extents are ``(height, width)``."""
    gain_y, gain_x = to_px[0] / from_px[0], to_px[1] / from_px[1]
    x0, y0 = int(box[0] * gain_x), int(box[1] * gain_y)
    return (
        x0,
        y0,
        max(x0 + 1, min(to_px[1], round(box[2] * gain_x))),
        max(y0 + 1, min(to_px[0], round(box[3] * gain_y))),
    )


def square_extent(source_px: tuple[int, int], picture_px: tuple[int, int]) -> tuple[int, int]:
    """Extent of the source with square pixels, told from its picture's; extents are ``(height, width)``.

    The same as the source where its pixels are square. Otherwise its finer side is kept.
    """
    aspect = (picture_px[0] / picture_px[1]) / (source_px[0] / source_px[1])
    if abs(aspect - 1.0) <= max(0.01, 1 / min(picture_px)):
        return source_px
    return round(source_px[0] * max(aspect, 1.0)), round(source_px[1] * max(1.0 / aspect, 1.0))


def _span(low: float, high: float, least: float, limit: int) -> tuple[float, float]:
    missing = max(0.0, least - (high - low)) / 2
    return min(max(0.0, low - missing), limit - 1.0), min(float(limit), high + missing)
