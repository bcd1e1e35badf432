"""From the localisation head's cells to boxes: zero, one or several places where a fracture may be.

Each cell of a map at half the stride of the last features says how likely the middle of a fracture is within it, and
how far that fracture reaches to each side (as in FCOS, Tian et al. 2019). Peaks of the map become boxes; boxes that
mean the same place are joined to the strongest (non-maximum suppression).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fractureai.domain.scores import NetworkReading

Floats = npt.NDArray[np.float32]

_SAME_PLACE = 0.2
"""Boxes that overlap by more (intersection over the smaller box) mean one fracture."""


class Candidates(NamedTuple):
    """Boxes on the canvas, strongest first.

    Attributes
    ----------
    boxes:
        ``(n, 4)`` float32, columns ``x0 y0 x1 y1``, canvas px, origin at the outer top-left corner.
    logits:
        ``(n,)`` float32.
    """

    boxes: Floats
    logits: Floats


def candidates(cells: Floats, sides: Floats, stride_px: int, most: int) -> Candidates:
    """Read the boxes off a localisation map.

    Parameters
    ----------
    cells:
        ``(h, w)`` float32 logits of one region.
    sides:
        ``(h, w, 4)`` float32, from each cell's centre to the fracture's left, top, right and bottom, canvas px.
    stride_px:
        Side of a cell.
    most:
        How many boxes at the most.
    """
    rows, columns = np.nonzero(cells >= _highest_nearby(cells))
    order = np.argsort(-cells[rows, columns], kind="stable")[: 4 * most]
    rows, columns = rows[order], columns[order]
    centres = (np.stack([columns, rows], axis=1) + 0.5) * stride_px
    reach = sides[rows, columns]
    boxes = np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], axis=1)
    extent = np.array([cells.shape[1], cells.shape[0]] * 2) * stride_px
    boxes = np.clip(boxes, 0, extent).astype(np.float32)
    kept: list[int] = []
    for place in range(len(boxes)):
        if len(kept) < most and not any(shared(boxes[place], boxes[other]) > _SAME_PLACE for other in kept):
            kept.append(place)
    return Candidates(boxes[kept], cells[rows[kept], columns[kept]].astype(np.float32))


def places(reading: NetworkReading, channel: int | None, most: int) -> Candidates:
    """The boxes of a network's reading on the image that was read, px of it, not clipped; none without the channel."""
    if channel is None or reading.cells is None or reading.sides is None:
        return Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    stride_px = reading.placement.canvas.height_px // reading.cells.shape[0]
    found = candidates(reading.cells[..., channel], reading.sides, stride_px, most)
    return Candidates(reading.placement.to_image(found.boxes), found.logits)


def shared(one: Floats, two: Floats) -> float:
    """Intersection over the smaller of two boxes ``x0 y0 x1 y1``."""
    extent = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
    smaller = min(float(np.prod(one[2:] - one[:2])), float(np.prod(two[2:] - two[:2])))
    return float(np.prod(np.maximum(extent, 0))) / max(smaller, 1e-6)


def turned_back(sides: Floats) -> Floats:
    """Sides ``(h, w, 4)`` of a picture turned by 180°, on the grid and with the names of the upright one."""
    return np.ascontiguousarray(sides[::-1, ::-1, [2, 3, 0, 1]])


def _highest_nearby(cells: Floats) -> Floats:
    """The largest value among each cell and its eight neighbours."""
    padded = np.pad(cells, 1, constant_values=-np.inf)
    height, width = cells.shape
    around = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.max(around, axis=0), np.float32)
