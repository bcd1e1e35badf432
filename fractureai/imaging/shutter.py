"""Display shutters and collimators (PS3.3 sections C.7.6.11 and C.8.7.3): what lies outside of them is not shown.

Both come in three shapes, which may be combined; a pixel is shown where all of them leave it. Rows and columns count
from 1. A shutter that is not whole, or that would leave next to nothing, is a wrong tag and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from fractureai.imaging.dicom_header import element

Mask = npt.NDArray[np.uint8]

_LEAST_SHARE = 0.05
_MOST_VERTICES = 4096


def shown_area(dataset: Dataset, height_px: int, width_px: int) -> Mask | None:
    """Where pixels are shown.

    Returns
    -------
    ``(height_px, width_px)`` uint8, 1 where they are and 0 outside; ``None`` if that is everywhere.
    """
    area: Mask | None = None
    for prefix, shapes in (("Shutter", "ShutterShape"), ("Collimator", "CollimatorShape")):
        for shape in _texts(element(dataset, shapes)):
            drawn = _draw(dataset, prefix, shape, (height_px, width_px))
            if drawn is None or np.count_nonzero(drawn) < _LEAST_SHARE * drawn.size:
                continue
            both = drawn if area is None else cv2.bitwise_and(area, drawn)
            if np.count_nonzero(both) >= _LEAST_SHARE * both.size:
                area = both  # type: ignore[assignment]
    return None if area is None or area.all() else area


def _draw(dataset: Dataset, prefix: str, shape: str, extent: tuple[int, int]) -> Mask | None:
    draw = _SHAPES.get(shape)
    try:
        return draw(dataset, prefix, np.zeros(extent, np.uint8)) if draw else None
    except (TypeError, ValueError, OverflowError, cv2.error):
        return None


def _rectangle(dataset: Dataset, prefix: str, area: Mask) -> Mask:
    """Both edges belong to what is shown."""
    sides = ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
    left, right, upper, lower = (int(element(dataset, f"{prefix}{side}")) for side in sides)
    area[max(0, upper - 1) : max(0, lower), max(0, left - 1) : max(0, right)] = 1
    return area


def _circle(dataset: Dataset, prefix: str, area: Mask) -> Mask:
    """Centre as row and column, radius in columns."""
    row, column = (int(value) for value in element(dataset, f"CenterOfCircular{prefix}"))
    radius = int(element(dataset, f"RadiusOfCircular{prefix}"))
    y, x = np.ogrid[1 : area.shape[0] + 1, 1 : area.shape[1] + 1]
    squared = np.square((y - row).astype(np.float32)) + np.square((x - column).astype(np.float32))
    area[squared <= float(radius) ** 2] = 1
    return area


def _polygon(dataset: Dataset, prefix: str, area: Mask) -> Mask:
    """Vertices as row and column, one after the other; the border belongs to what is shown."""
    values = [int(value) for value in element(dataset, f"VerticesOfThePolygonal{prefix}")]
    if len(values) % 2 or not 6 <= len(values) <= 2 * _MOST_VERTICES:
        raise ValueError("not the vertices of a polygon")
    corners = np.array([(column - 1, row - 1) for row, column in zip(values[::2], values[1::2], strict=True)])
    if np.abs(corners).max() > 2**15:
        raise ValueError("vertices beyond any image")
    return cv2.fillPoly(area, [corners.astype(np.int32)], (1,))  # type: ignore[return-value]


_SHAPES: dict[str, Callable[[Dataset, str, Mask], Mask]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value][: len(_SHAPES)]
