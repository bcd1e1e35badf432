"""What hospitals differ in besides geometry: exposure, processing, sharpness, depth, compression, and what is on the
plate.

Every change keeps the anatomy, and what is laid over a picture touches no marked fracture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

_INVERTED = 0.12
_LETTERS = tuple("LRAPCMX0123456789 -/:")


def change(image: Floats, boxes: Floats, strength: float, rng: np.random.Generator, others: list[Grey]) -> Floats:
    """Change a picture ``(H, W)`` float32 0..255.

    Parameters
    ----------
    boxes:
        ``(n, 4)`` px; nothing is laid over them.
    strength:
        0 leaves the picture as it is, 1 is the most.
    others:
        Pictures whose exposure it may take on; may be empty.
    """
    if strength <= 0:
        return image
    if rng.random() < _INVERTED:
        image = 255 - image
    if others and rng.random() < 0.15 * strength:
        image = _matched(image, others[rng.integers(len(others))], rng.uniform(0.4, 1.0))
    image = _exposed(image, strength, rng)
    if rng.random() < 0.25 * strength:
        image = _marked(image, boxes, rng)
    image = _sharpened(image, rng)
    image = _stored(image, strength, rng)
    if rng.random() < 0.3 * strength:
        image = _cut_out(image, boxes, rng)
    return np.clip(image, 0, 255).astype(np.float32)


def replace_ground(pixels: Grey, texture: Grey, rng: np.random.Generator) -> tuple[Grey, float]:
    """Put another ground behind the anatomy: black, any grey, or noise.

    ``texture``: :func:`fractureai.domain.limb.texture` of the picture. Returns the picture and the grey of the ground.
    """
    height, width = pixels.shape
    filled = cv2.morphologyEx(texture, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    mask = cv2.dilate(cv2.resize(filled, (width, height), interpolation=cv2.INTER_NEAREST), np.ones((9, 9), np.uint8))
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)
    level = float(rng.choice([0.0, 0.0, rng.uniform(0, 80), rng.uniform(0, 255)]))
    ground = np.full((height, width), level, np.float32)
    if rng.random() < 0.4:
        ground += rng.normal(0, rng.uniform(1, 8), ground.shape)
    return np.clip(pixels * share + ground * (1 - share), 0, 255).astype(np.uint8), level


def _exposed(image: Floats, strength: float, rng: np.random.Generator) -> Floats:
    if rng.random() < 0.8:
        image = 255 * (np.clip(image, 0, 255) / 255) ** np.exp(rng.uniform(-0.5, 0.5) * strength)
    if rng.random() < 0.25 * strength:  # a window that cuts off the darkest and the brightest
        low, high = np.percentile(image, [rng.uniform(0, 15), rng.uniform(94, 100)])
        image = np.clip((image - low) * (255 / max(high - low, 16)), 0, 255)
    if rng.random() < 0.15 * strength:  # a console's local contrast
        tiles = int(rng.integers(3, 9))
        equalise = cv2.createCLAHE(float(rng.uniform(1, 1 + 2 * strength)), (tiles, tiles))
        image = equalise.apply(np.clip(image, 0, 255).astype(np.uint8)).astype(np.float32)
    if rng.random() < 0.2 * strength:  # a heel effect
        slope = cv2.resize(rng.uniform(-1, 1, (2, 2)).astype(np.float32), image.shape[::-1])
        image = image * (1 + 0.3 * slope)
    if rng.random() < 0.8:
        mean = image.mean()
        image = (image - mean) * rng.uniform(1 - 0.35 * strength, 1 + 0.3 * strength) + mean * rng.uniform(0.75, 1.25)
    return np.asarray(image, np.float32)


def _sharpened(image: Floats, rng: np.random.Generator) -> Floats:
    choice = rng.random()
    if choice < 0.22:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    if choice < 0.4:
        return image + (image - cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 2.5))) * rng.uniform(0.2, 1.2)
    if choice < 0.55:  # taken at a lower resolution
        height, width = image.shape
        share = rng.uniform(0.33, 0.8)
        small = cv2.resize(image, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _stored(image: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Noise, few grey levels, compression, a scale that is not filled."""
    if rng.random() < 0.5:
        image = image + rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 9)
    if rng.random() < 0.15 * strength:
        levels = rng.uniform(0.2, 0.6)
        image = np.round(np.clip(image, 0, 255) * levels) / levels
    if rng.random() < 0.25 * strength:
        quality = int(rng.integers(30, 90))
        packed = cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE).astype(np.float32)
    if rng.random() < 0.12 * strength:
        image = image * rng.uniform(0.5, 0.95)
    return np.asarray(image, np.float32)


def _matched(image: Floats, other: Grey, share: float) -> Floats:
    """Take on another picture's histogram, in part."""
    quantiles = np.linspace(0, 100, 33)
    own = np.percentile(image, quantiles) + np.arange(33) * 1e-3
    return np.asarray((1 - share) * image + share * np.interp(image, own, np.percentile(other, quantiles)), np.float32)


def _apart(boxes: Floats, left: int, top: int, width: int, height: int) -> bool:
    """Whether a rectangle touches no box."""
    beside = (boxes[:, 2] <= left) | (boxes[:, 0] >= left + width)
    below = (boxes[:, 3] <= top) | (boxes[:, 1] >= top + height)
    return bool((beside | below).all())


def _cut_out(image: Floats, boxes: Floats, rng: np.random.Generator) -> Floats:
    """Blank a rectangle (DeVries and Taylor 2017); three tries to find a place."""
    rows, columns = image.shape
    for _ in range(3):
        width, height = int(rng.integers(12, max(13, columns // 4))), int(rng.integers(12, max(13, rows // 4)))
        left, top = int(rng.integers(0, columns - width)), int(rng.integers(0, rows - height))
        if _apart(boxes, left, top, width, height):
            image = image.copy()
            image[top : top + height, left : left + width] = rng.uniform(0, 200)
            break
    return image


def _marked(image: Floats, boxes: Floats, rng: np.random.Generator) -> Floats:
    """Lay a frame, a plate's border, letters, a ruler or a bar over it."""
    drawn = np.clip(image, 0, 255).astype(np.uint8)
    (_border, _frame, _letters, _ruler, _bar)[rng.integers(5)](drawn, boxes, float(rng.uniform(150, 255)), rng)
    return drawn.astype(np.float32)


def _border(drawn: Grey, boxes: Floats, bright: float, rng: np.random.Generator) -> None:
    rows, columns = drawn.shape
    deep, grey = rng.uniform(0.02, 0.15), float(rng.choice([255.0, bright, 0.0]))
    down, across = int(deep * rows), int(deep * columns)
    left, top, width, height = (
        (0, 0, columns, down),
        (0, rows - down, columns, down),
        (0, 0, across, rows),
        (columns - across, 0, across, rows),
    )[rng.integers(4)]
    if _apart(boxes, left, top, width, height):
        drawn[top : top + height, left : left + width] = grey


def _frame(drawn: Grey, boxes: Floats, bright: float, rng: np.random.Generator) -> None:
    rows, columns = drawn.shape
    deep, grey = max(1, int(rng.uniform(0.02, 0.1) * columns)), float(rng.choice([255.0, bright, 0.0, 60.0]))
    if (boxes[:, :2] >= deep).all() and (boxes[:, 2:] <= [columns - deep, rows - deep]).all():
        drawn[:deep], drawn[-deep:], drawn[:, :deep], drawn[:, -deep:] = grey, grey, grey, grey


def _letters(drawn: Grey, boxes: Floats, bright: float, rng: np.random.Generator) -> None:
    rows, columns = drawn.shape
    for _ in range(rng.integers(1, 4)):
        text = "".join(rng.choice(_LETTERS, rng.integers(1, 14)))
        size, face = float(rng.uniform(0.4, 1.5)), int(rng.integers(0, 4))
        (width, height), _ = cv2.getTextSize(text, face, size, 2)
        if width >= columns or height >= rows:
            continue
        left, top = int(rng.integers(0, columns - width)), int(rng.integers(0, rows - height))
        if _apart(boxes, left, top, width, height):
            cv2.putText(drawn, text, (left, top + height), face, size, bright, int(rng.integers(1, 4)), cv2.LINE_AA)


def _ruler(drawn: Grey, boxes: Floats, bright: float, rng: np.random.Generator) -> None:
    rows, columns = drawn.shape
    left, step = int(rng.integers(2, max(3, columns - 14))), int(rng.integers(6, 30))
    if _apart(boxes, left, 0, 12, rows):
        cv2.line(drawn, (left, 0), (left, rows), bright, 1)
        for row in range(0, rows, step):
            cv2.line(drawn, (left, row), (left + 9, row), bright, 1)


def _bar(drawn: Grey, boxes: Floats, bright: float, rng: np.random.Generator) -> None:
    rows, columns = drawn.shape
    width, height = int(rng.uniform(0.03, 0.12) * columns), int(rng.uniform(0.2, 0.6) * rows)
    left, top = int(rng.integers(0, columns - width)), int(rng.integers(0, rows - height))
    if _apart(boxes, left, top, width, height):
        drawn[top : top + height, left : left + width] = bright
