"""The canvas a network sees, and the way back from it to the image.

The anatomy is cut out (:mod:`fractureai.domain.limb`), turned so that its long side stands upright, scaled to the
canvas and stretched to the full grey range. So position, size on a plate, exposure and quarter turns do not reach the
network. One function serves training and serving alike, so that both see the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain.limb import Rectangle, find_limb

Floats = npt.NDArray[np.float32]

_DARKEST, _BRIGHTEST = 0.5, 99.8
"""Percentiles of the anatomy that become black and white."""
_LEAST_RANGE = 16.0
"""Grey levels between them below which nothing is stretched further: noise is no picture."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a network takes; ``height_px`` is at least ``width_px``."""

    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        if not self.height_px >= self.width_px >= 1:
            raise ValueError(f"a canvas stands upright, got {self}")


@dataclass(frozen=True, slots=True)
class Placement:
    """How a part of an image lies on a canvas: aspect kept, centred.

    Attributes
    ----------
    image_height_px, image_width_px:
        Extent of the whole image.
    part:
        What of it is shown.
    """

    image_height_px: int
    image_width_px: int
    part: Rectangle
    canvas: Canvas

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.part
        if not (0 <= x0 < x1 <= self.image_width_px and 0 <= y0 < y1 <= self.image_height_px):
            raise ValueError(f"the part must lie within the image, got {self}")

    @property
    def turned(self) -> bool:
        """Whether the part is wider than high and was turned by 90° clockwise."""
        return self.part.width_px > self.part.height_px

    @property
    def inner_px(self) -> tuple[int, int]:
        """Rows and columns the part covers on the canvas."""
        height, width = self._upright()
        scale = min(self.canvas.height_px / height, self.canvas.width_px / width)
        return (
            max(1, min(self.canvas.height_px, round(height * scale))),
            max(1, min(self.canvas.width_px, round(width * scale))),
        )

    @property
    def corner_px(self) -> tuple[int, int]:
        """First canvas row and column of the part."""
        rows, columns = self.inner_px
        return (self.canvas.height_px - rows) // 2, (self.canvas.width_px - columns) // 2

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """``(2, 3)`` map of ``(x, y, 1)`` in image px to canvas px; origins at the outer top-left corners."""
        rows, columns = self.inner_px
        top, left = self.corner_px
        if self.turned:
            gain_x, gain_y = columns / self.part.height_px, rows / self.part.width_px
            return np.array(
                [
                    [0.0, -gain_x, left + columns + gain_x * self.part.y0],
                    [gain_y, 0.0, top - gain_y * self.part.x0],
                ]
            )
        gain_x, gain_y = columns / self.part.width_px, rows / self.part.height_px
        return np.array([[gain_x, 0.0, left - gain_x * self.part.x0], [0.0, gain_y, top - gain_y * self.part.y0]])

    @property
    def inverse(self) -> npt.NDArray[np.float64]:
        """``(2, 3)`` map of canvas px back to image px."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return np.concatenate([linear, -linear @ self.matrix[:, 2:]], axis=1)

    def to_canvas(self, boxes: Floats) -> Floats:
        """Map upright boxes from the image to the canvas.

        ``boxes``: ``(n, 4)`` float32, columns ``x0 y0 x1 y1``, image px, origin at the outer top-left corner.
        """
        return _moved(self.matrix, boxes)

    def to_image(self, boxes: Floats) -> Floats:
        """Map upright boxes from the canvas to the image; the inverse of :meth:`to_canvas`, not clipped."""
        return _moved(self.inverse, boxes)

    def over_image(self, cells: Floats) -> Floats:
        """Stretch a coarse map of the canvas over the image.

        Parameters
        ----------
        cells:
            ``(h, w)`` float32 over the whole canvas, any scale.

        Returns
        -------
        ``(image_height_px, image_width_px)`` float32, bilinear; cell centres fall on the centres of the areas they saw.
        Outside the part that was shown it is 0.
        """
        import cv2  # 16 MB that processes which touch no picture (web, scheduler, workers' mains) do without

        per_cell = np.array([cells.shape[1] / self.canvas.width_px, cells.shape[0] / self.canvas.height_px])
        # OpenCV counts from centres: image centre (x + .5) goes to cell (position - .5).
        linear = per_cell[:, None] * self.matrix[:, :2]
        shift = per_cell * self.matrix[:, 2] + linear @ [0.5, 0.5] - 0.5
        over = np.zeros((self.image_height_px, self.image_width_px), np.float32)
        x0, y0, x1, y1 = self.part
        over[y0:y1, x0:x1] = cv2.warpAffine(
            np.ascontiguousarray(cells, np.float32),
            np.concatenate([linear, (shift + linear @ [x0, y0])[:, None]], axis=1),
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return over

    def to_json(self) -> dict[str, Any]:
        """What an artifact keeps of it."""
        return {
            "image_px": [self.image_height_px, self.image_width_px],
            "part_px": list(self.part),
            "canvas_px": [self.canvas.height_px, self.canvas.width_px],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Placement:
        """Read what :meth:`to_json` wrote."""
        height, width = data["image_px"]
        return cls(height, width, Rectangle(*data["part_px"]), Canvas(*data["canvas_px"]))

    def _upright(self) -> tuple[int, int]:
        height, width = self.part.height_px, self.part.width_px
        return (width, height) if self.turned else (height, width)


def place(image: npt.NDArray[np.uint8], canvas: Canvas) -> Placement:
    """Choose where an image ``(H, W)`` uint8 lies on a canvas: its anatomy fills it."""
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"expected a (H, W) uint8 image, got {image.shape} {image.dtype}")
    return Placement(image.shape[0], image.shape[1], find_limb(image), canvas)


def lay(image: npt.NDArray[np.uint8], placement: Placement) -> Floats:
    """Draw an image ``(H, W)`` uint8 on its canvas.

    Returns
    -------
    ``(height_px, width_px)`` float32 of the canvas, grey 0..255, the border 0. Shrinking averages (``INTER_AREA``), so
    that a thin lucent line dims but does not vanish; enlarging is bilinear.
    """
    import cv2  # as above

    x0, y0, x1, y1 = placement.part
    part = image[y0:y1, x0:x1]
    if placement.turned:
        part = np.rot90(part, -1)
    rows, columns = placement.inner_px
    method = cv2.INTER_AREA if rows < part.shape[0] else cv2.INTER_LINEAR
    inner = cv2.resize(np.ascontiguousarray(part, np.float32), (columns, rows), interpolation=method)
    canvas = np.zeros((placement.canvas.height_px, placement.canvas.width_px), np.float32)
    top, left = placement.corner_px
    canvas[top : top + rows, left : left + columns] = stretched(np.asarray(inner, np.float32))
    return canvas


def stretched(grey: Floats) -> Floats:
    """Spread grey values ``(H, W)`` over 0..255, but for the darkest and brightest few."""
    low, high = np.percentile(grey[::3, ::3], [_DARKEST, _BRIGHTEST])
    gain = 255 / max(float(high - low), _LEAST_RANGE)
    return np.asarray(np.clip((grey - np.float32(low)) * np.float32(gain), 0, 255), np.float32)


def _moved(matrix: npt.NDArray[np.float64], boxes: Floats) -> Floats:
    corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
