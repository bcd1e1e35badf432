"""A radiograph as other hospitals would have taken, framed, exposed and stored it: what reading must not depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.domain.limb import find_limb, texture

Grey = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]
Variation = Callable[[Grey, Boxes], tuple[Grey, Boxes]]
"""``(H, W)`` uint8 and boxes ``(n, 4)`` px to the same of the changed picture; boxes may reach beyond its border."""


def _turned(quarters: int) -> Variation:
    def turn(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
        for _ in range(quarters):
            width = pixels.shape[1]
            pixels = np.rot90(pixels)
            boxes = np.stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]], axis=1)
        return np.ascontiguousarray(pixels), boxes

    return turn


def _mirrored(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
    width = pixels.shape[1]
    swapped = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    return np.ascontiguousarray(pixels[:, ::-1]), swapped


def _smaller(scale: float) -> Variation:
    """Small on a black plate of the same size, off the middle."""

    def shrink(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
        height, width = pixels.shape
        small = cv2.resize(pixels, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA)
        top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 3
        plate = np.zeros_like(pixels)
        plate[top : top + small.shape[0], left : left + small.shape[1]] = small
        return plate, boxes * np.float32(scale) + np.array([left, top] * 2, np.float32)

    return shrink


def _larger(scale: float) -> Variation:
    """A window about the middle of the anatomy; what lies outside is cut off."""

    def zoom(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
        height, width = pixels.shape
        limb = find_limb(pixels)
        rows, columns = int(height / scale), int(width / scale)
        top = int(np.clip((limb.y0 + limb.y1) / 2 - rows / 2, 0, height - rows))
        left = int(np.clip((limb.x0 + limb.x1) / 2 - columns / 2, 0, width - columns))
        window = pixels[top : top + rows, left : left + columns]
        enlarged = cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, np.uint8), (boxes - np.array([left, top] * 2, np.float32)) * np.float32(scale)

    return zoom


def _padded(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
    height, width = pixels.shape
    plate = np.full((2 * height, 2 * width), 12, np.uint8)
    top, left = height // 3, width // 2
    plate[top : top + height, left : left + width] = pixels
    return plate, boxes + np.array([left, top] * 2, np.float32)


def _framed(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
    deep = max(2, int(0.04 * max(pixels.shape)))
    framed = cv2.copyMakeBorder(pixels, deep, deep, deep, deep, cv2.BORDER_CONSTANT, value=255)
    return np.asarray(framed, np.uint8), boxes + np.float32(deep)


def _dimmed(divisor: int) -> Variation:
    return lambda pixels, boxes: (pixels // np.uint8(divisor), boxes)


def _compressed(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
    packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8), boxes


def _blurred(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.2), np.uint8), boxes


def _labelled(pixels: Grey, boxes: Boxes) -> tuple[Grey, Boxes]:
    """A plate at the side, a ruler, letters burned in; where there is no anatomy, as far as that is known."""
    drawn = pixels.copy()
    height, width = drawn.shape
    plate = np.zeros_like(drawn)
    plate[int(0.06 * height) : int(0.3 * height), int(0.02 * width) : int(0.07 * width)] = 235
    for row in range(0, height, 14):
        plate[row : row + 2, width - 12 : width - 4] = 250
    cv2.putText(plate, "L 12:04 PORTABLE", (width // 8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    ground = cv2.resize(texture(pixels), (width, height), interpolation=cv2.INTER_NEAREST) == 0
    return np.where((plate > 0) & ground, plate, drawn), boxes


VARIATIONS: Mapping[str, Variation] = MappingProxyType(
    {
        "as it is": lambda pixels, boxes: (pixels, boxes),
        "turned by 90°": _turned(1),
        "turned by 180°": _turned(2),
        "turned by 270°": _turned(3),
        "mirrored": _mirrored,
        "1/3 of the scale": _smaller(1 / 3),
        "1/2 of the scale": _smaller(1 / 2),
        "2 times the scale": _larger(2),
        "3 times the scale": _larger(3),
        "padded": _padded,
        "framed in white": _framed,
        "inverted": lambda pixels, boxes: (np.asarray(255 - pixels, np.uint8), boxes),
        "1/2 of the grey scale": _dimmed(2),
        "1/4 of the grey scale": _dimmed(4),
        "JPEG quality 40": _compressed,
        "blurred": _blurred,
        "plate, ruler and letters": _labelled,
    }
)


def shares_visible(boxes: Boxes, pixels: Grey) -> npt.NDArray[np.float32]:
    """The share of each box ``(n, 4)`` that is within the picture, ``(n,)``."""
    height, width = pixels.shape
    inside = np.clip(boxes, 0, [width, height, width, height])
    area = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-6)
    return np.asarray(np.prod(np.maximum(inside[:, 2:] - inside[:, :2], 0), axis=1) / area, np.float32)
