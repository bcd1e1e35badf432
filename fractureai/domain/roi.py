"""From a coarse attention map to what is shown: a relative map over the image, and a region of interest.

The map says where the network's evidence lies, not where a fracture ends; it is shown as attention and never as a
detection box (Saporta et al. 2022 measured how much coarser such maps are than a radiologist's outline).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import crop_map

_SHARE_OF_PEAK = 0.5
"""The region of interest is where the attention reaches half of its peak (as in CAM, Zhou et al. 2016)."""

_MIN_SIDE = 0.08
"""Smallest side of the region as a share of the image's long side: a smaller crop shows no anatomy."""


def relative_attention(attention: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rectify a Grad-CAM map and scale its peak to 1; all zero where nothing speaks for the class.

    ``attention``: float32 of any shape. The result has the same shape and lies in 0..1.
    """
    positive: npt.NDArray[np.float32] = np.maximum(np.asarray(attention, np.float32), np.float32(0))
    peak = np.float32(positive.max(initial=0.0))
    return np.divide(positive, peak, dtype=np.float32) if peak > 0 else positive


def roi_from_attention(
    attention: npt.NDArray[np.float32], height_px: int, width_px: int
) -> tuple[int, int, int, int] | None:
    """Box the hot spot that holds the peak of the attention.

    Parameters
    ----------
    attention:
        ``(h, h)`` float32 over the square canvas the image lay on, any scale.
    height_px, width_px:
        Extent of the image the box is wanted on.

    Returns
    -------
    ``(x0, y0, x1, y1)`` in image px, origin at the outer top-left corner, ``x1`` and ``y1`` exclusive; ``None`` if no
    attention is positive within the image.
    """
    import cv2  # heavy, and not every process that knows this module looks at pictures

    # A grid of at most 256 px is fine enough for a map of a dozen cells, and cheap.
    shrink = min(1.0, 256 / max(height_px, width_px))
    rows, columns = max(1, round(height_px * shrink)), max(1, round(width_px * shrink))
    relative = relative_attention(crop_map(np.asarray(attention, np.float32), rows, columns))
    if not relative.any():
        return None
    peak_row, peak_column = np.unravel_index(int(relative.argmax()), relative.shape)
    _, labels = cv2.connectedComponents((relative >= _SHARE_OF_PEAK).astype(np.uint8))
    spot_rows, spot_columns = np.nonzero(labels == labels[peak_row, peak_column])
    least = _MIN_SIDE * max(rows, columns)
    y0, y1 = _span(int(spot_rows.min()), int(spot_rows.max()) + 1, least, rows)
    x0, x1 = _span(int(spot_columns.min()), int(spot_columns.max()) + 1, least, columns)
    gain_x, gain_y = width_px / columns, height_px / rows
    return (
        int(x0 * gain_x),
        int(y0 * gain_y),
        max(int(x0 * gain_x) + 1, min(width_px, round(x1 * gain_x))),
        max(int(y0 * gain_y) + 1, min(height_px, round(y1 * gain_y))),
    )


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


def _span(low: int, high: int, least: float, limit: int) -> tuple[float, float]:
    missing = max(0.0, least - (high - low)) / 2
    return max(0.0, low - missing), min(float(limit), high + missing)
