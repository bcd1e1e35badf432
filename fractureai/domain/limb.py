"""The part of a picture that shows anatomy: what is worth a network's canvas.

Collimation, plates, white frames and padding hold a limb small on a large ground in one collection and not in
another. Anatomy differs from all of these by texture: bones and soft tissue change within a few pixels over a broad
area, a plate's edge over a thin line. So the measure is the local deviation of the grey values, whatever their
polarity and exposure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_LONG_SIDE_PX = 256
"""The search runs on a picture of this long side; the sizes below are px of it."""
_WINDOW_PX = 5
_BRIDGED_PX = 11
"""Gaps in the texture that are closed: the inside of soft tissue."""
_THINNEST_PX = 9
"""What is thinner is an edge, a letter or a wire."""
_SHARE_OF_TEXTURE = 0.18
"""Of the strong deviations (95th percentile) that still count as texture."""
_LEAST_DEVIATION = 0.012
_SHARE_OF_THICKNESS, _SHARE_OF_AREA = 0.42, 0.06
"""Parts this thick and large, against the thickest and largest, belong to the anatomy: a second limb, not a plate's
edge.
"""
_MARGIN = 0.03
_SETTLED = 0.85
"""A cut that keeps this share of the area is the last; a smaller one is looked at again, closer."""
_LOOKS = 3


class Rectangle(NamedTuple):
    """``x0 y0 x1 y1`` in image px, origin at the outer top-left corner, ``x1`` and ``y1`` exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width_px(self) -> int:
        """Columns it covers."""
        return self.x1 - self.x0

    @property
    def height_px(self) -> int:
        """Rows it covers."""
        return self.y1 - self.y0


def find_limb(image: npt.NDArray[np.uint8]) -> Rectangle:
    """Bound the anatomy of a radiograph, with a margin.

    Parameters
    ----------
    image:
        ``(H, W)`` uint8 of any exposure and polarity.

    Returns
    -------
    A rectangle within the image; the whole image where no texture is found.

    Notes
    -----
    On the 690 marked fractures of FracAtlas's training and validation parts it cuts off none.
    """
    cut = Rectangle(0, 0, image.shape[1], image.shape[0])
    for _ in range(_LOOKS):
        x0, y0, x1, y1 = _textured(image[cut.y0 : cut.y1, cut.x0 : cut.x1])
        closer = Rectangle(cut.x0 + x0, cut.y0 + y0, cut.x0 + x1, cut.y0 + y1)
        kept = closer.width_px * closer.height_px / (cut.width_px * cut.height_px)
        cut = closer
        if kept >= _SETTLED:
            break
    return cut


def texture(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Mark the textured parts of an image: ``(h, w)`` uint8, 1 or 0, long side 256 px, the image's aspect."""
    import cv2  # 16 MB that processes which touch no picture do without

    height, width = image.shape
    scale = _LONG_SIDE_PX / max(height, width)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = (max(8, round(width * scale)), max(8, round(height * scale)))
    grey = cv2.resize(image, small, interpolation=method).astype(np.float32)
    low, high = np.percentile(grey, [1, 99])
    grey = np.clip((grey - low) / max(high - low, 8), 0, 1)
    window = (_WINDOW_PX, _WINDOW_PX)
    mean = cv2.blur(grey, window)
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, window) - mean * mean, 0))
    least = max(_LEAST_DEVIATION, _SHARE_OF_TEXTURE * float(np.percentile(deviation, 95)))
    marked: Any = (deviation > least).astype(np.uint8)
    marked = cv2.morphologyEx(marked, cv2.MORPH_CLOSE, _disc(_BRIDGED_PX))
    return np.asarray(cv2.morphologyEx(marked, cv2.MORPH_OPEN, _disc(_THINNEST_PX)), np.uint8)


def _textured(image: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    import cv2  # as above

    height, width = image.shape
    marked = texture(image)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    if count <= 1:
        return 0, 0, width, height
    # Padded with the border's own values: a limb that runs out of the picture is no thinner for it.
    distance = cv2.distanceTransform(np.pad(marked, 1, mode="edge"), cv2.DIST_L2, 3)[1:-1, 1:-1]
    thickness = np.array([distance[labels == part].max() for part in range(1, count)])
    parts = statistics[1:]
    area = parts[:, cv2.CC_STAT_AREA]
    parts = parts[(thickness >= _SHARE_OF_THICKNESS * thickness.max()) & (area >= _SHARE_OF_AREA * area.max())]
    low, high = parts[:, :2].min(axis=0), (parts[:, :2] + parts[:, 2:4]).max(axis=0)
    margin = _MARGIN * float((high - low).max()) + 2
    gain = np.array([width / marked.shape[1], height / marked.shape[0]])
    x0, y0 = np.floor(np.maximum(low - margin, 0) * gain).astype(int)
    x1, y1 = np.ceil((high + margin) * gain).astype(int)
    return int(x0), int(y0), min(width, int(x1)), min(height, int(y1))


def _disc(diameter_px: int) -> npt.NDArray[np.uint8]:
    import cv2  # as above

    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter_px, diameter_px)), np.uint8)
