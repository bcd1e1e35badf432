"""The square a network sees, and the way back from it to the source image.

One function serves training and serving alike, so that both see the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image of ``height_px × width_px`` lies, aspect kept and centred, on a ``size_px`` square canvas.

    Attributes
    ----------
    left_px, top_px:
        Upper left corner of the image on the canvas, canvas px.
    inner_height_px, inner_width_px:
        Extent of the image on the canvas, canvas px.
    """

    height_px: int
    width_px: int
    size_px: int

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px, self.size_px) < 1:
            raise ValueError(f"extents must be at least 1 px, got {self}")

    @property
    def scale(self) -> float:
        """Canvas px per image px."""
        return self.size_px / max(self.height_px, self.width_px)

    @property
    def inner_height_px(self) -> int:
        """Rows the image covers on the canvas."""
        return max(1, round(self.height_px * self.scale))

    @property
    def inner_width_px(self) -> int:
        """Columns the image covers on the canvas."""
        return max(1, round(self.width_px * self.scale))

    @property
    def top_px(self) -> int:
        """First canvas row of the image."""
        return (self.size_px - self.inner_height_px) // 2

    @property
    def left_px(self) -> int:
        """First canvas column of the image."""
        return (self.size_px - self.inner_width_px) // 2

    def to_canvas(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map boxes from the image to the canvas.

        ``boxes``: ``(n, 4)`` float32, columns ``x0 y0 x1 y1``, image px, origin at the outer top-left corner.
        """
        gain, shift = self._affine()
        return (np.asarray(boxes, np.float32) * gain + shift).astype(np.float32)

    def to_source(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map boxes from the canvas to the image; the inverse of :meth:`to_canvas`, not clipped."""
        gain, shift = self._affine()
        return ((np.asarray(boxes, np.float32) - shift) / gain).astype(np.float32)

    def _affine(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        gain_x = self.inner_width_px / self.width_px
        gain_y = self.inner_height_px / self.height_px
        gain = np.array([gain_x, gain_y, gain_x, gain_y], np.float32)
        shift = np.array([self.left_px, self.top_px, self.left_px, self.top_px], np.float32)
        return gain, shift


def fit(image: npt.NDArray[np.uint8], size_px: int) -> npt.NDArray[np.float32]:
    """Lay an image on the square canvas of a network.

    Parameters
    ----------
    image:
        ``(H, W)`` uint8, bones bright.
    size_px:
        Side of the canvas.

    Returns
    -------
    ``(size_px, size_px)`` float32, grey 0..255; the border is 0. Shrinking averages (``INTER_AREA``), so that a thin
    lucent line dims but does not vanish; enlarging is bilinear.
    """
    import cv2  # 16 MB that processes which touch no picture (web, scheduler, workers' mains) do without

    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"expected a (H, W) uint8 image, got {image.shape} {image.dtype}")
    box = Letterbox(image.shape[0], image.shape[1], size_px)
    method = cv2.INTER_AREA if box.scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size_px, size_px), np.float32)
    inner = cv2.resize(image, (box.inner_width_px, box.inner_height_px), interpolation=method)
    canvas[box.top_px : box.top_px + box.inner_height_px, box.left_px : box.left_px + box.inner_width_px] = inner
    return canvas


def crop_map(attention: npt.NDArray[np.float32], height_px: int, width_px: int) -> npt.NDArray[np.float32]:
    """Cut the border of the canvas off a coarse attention map and stretch the rest over the image.

    Parameters
    ----------
    attention:
        ``(h, w)`` float32 over the whole square canvas, any scale.
    height_px, width_px:
        Extent of the image that lay on the canvas.

    Returns
    -------
    ``(height_px, width_px)`` float32, bilinear; cell centres of the map fall on the centres of the areas they saw.
    Cells centred on the border of the canvas saw no image and are left out: the nearest cells inside stand for them.
    """
    cells = attention.shape[0]
    if attention.shape != (cells, cells):
        raise ValueError(f"expected a square map, got {attention.shape}")
    import cv2  # as above

    longest = max(height_px, width_px)
    gain = cells / longest
    left, top = (longest - width_px) / 2, (longest - height_px) / 2
    rows, columns = _cells_inside(cells, gain * top), _cells_inside(cells, gain * left)
    inside = np.asarray(attention, np.float32)[np.ix_(rows, columns)]
    # Pixel centre (x + .5) of the image sits at cell coordinate (x + .5 + left) * gain - .5.
    offset_x, offset_y = (0.5 + left) * gain - 0.5, (0.5 + top) * gain - 0.5
    back = np.array([[gain, 0.0, offset_x], [0.0, gain, offset_y]], np.float32)
    stretched: npt.NDArray[np.float32] = cv2.warpAffine(  # type: ignore[assignment]
        np.ascontiguousarray(inside),
        back,
        (width_px, height_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return stretched


def _cells_inside(cells: int, border_cells: float) -> npt.NDArray[np.intp]:
    """For each cell along one side, the nearest whose centre lies on the image."""
    first = min(int(np.ceil(border_cells - 0.5)), (cells - 1) // 2)
    return np.clip(np.arange(cells), first, cells - 1 - first)
