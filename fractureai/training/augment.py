"""Changes a radiograph may undergo without changing its reading, with the marked fractures carried along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.training.network import STRIDE_PX
from fractureai.training.pictures import Picture

Floats = npt.NDArray[np.float32]
FRACTURE, UNSURE, INTACT = 1.0, -1.0, 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How far pictures are changed.

    Attributes
    ----------
    size_px:
        Side of the square window a network sees.
    canvas_px:
        Scale: the long side of the whole picture would cover this many px before it is zoomed.
    whole:
        Show the whole picture (as when serving) instead of a window of it.
    zoom:
        Largest natural logarithm of the change in scale.
    turn_deg:
        Largest rotation; one picture in sixteen is turned by a multiple of 90° besides.
    intensity:
        Strength of gamma, contrast and cut-out; 0 switches them off.
    """

    size_px: int
    canvas_px: int
    whole: bool
    zoom: float = 0.3
    turn_deg: float = 25.0
    intensity: float = 1.0

    def __post_init__(self) -> None:
        if self.size_px % STRIDE_PX or self.canvas_px < 32:
            raise ValueError(f"the window must be a multiple of {STRIDE_PX} px, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One training example.

    Attributes
    ----------
    image:
        ``(size, size)`` float32, grey 0..255.
    fractured, weight:
        The label of the window and how much it counts: 0 if the fracture is cut off by its border.
    cells:
        ``(size/32, size/32)`` float32, ``FRACTURE``, ``INTACT`` or ``UNSURE`` (not counted) for each cell of the last
        feature map.
    """

    image: Floats
    fractured: float
    weight: float
    cells: Floats


def vary(picture: Picture, recipe: Recipe, rng: np.random.Generator) -> View:
    """Draw one view of a picture: turn, mirror, zoom, window, then exposure, sharpness, noise and cut-out."""
    linear, turn_rad = _linear_map(picture, recipe, rng)
    shift = recipe.size_px / 2 - linear @ _centre(picture, recipe, linear, rng)
    matrix = np.concatenate([linear, shift[:, None]], axis=1).astype(np.float32)
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    method = cv2.INTER_LINEAR if scale > 0.62 else cv2.INTER_AREA
    image = cv2.warpAffine(picture.pixels, matrix, (recipe.size_px, recipe.size_px), flags=method)
    boxes, visible = _carry(picture.boxes, linear, shift, turn_rad, recipe.size_px)
    fractured, weight = _label(picture, visible)
    changed = _expose(image.astype(np.float32), boxes, recipe.intensity, rng)
    cells = _cells(boxes, visible, recipe.size_px // STRIDE_PX)
    if picture.fractured and not len(picture.boxes):
        cells[:] = UNSURE
    return View(changed, fractured, weight, cells)


def _linear_map(picture: Picture, recipe: Recipe, rng: np.random.Generator) -> tuple[Floats, float]:
    zoom = np.exp(rng.uniform(-recipe.zoom, recipe.zoom)) * recipe.canvas_px / max(picture.pixels.shape)
    turn = np.deg2rad(rng.uniform(-recipe.turn_deg, recipe.turn_deg)) if rng.random() < 0.7 else 0.0
    turn += np.pi / 2 * rng.integers(0, 4) if rng.random() < 1 / 16 else 0.0
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    stretch = np.exp(rng.uniform(-0.08, 0.08))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotation @ np.diag([mirror * zoom * stretch, zoom / stretch]), float(turn)


def _centre(picture: Picture, recipe: Recipe, linear: Floats, rng: np.random.Generator) -> Floats:
    """The point of the picture, ``(x, y)`` px, that comes to the middle of the window."""
    height, width = picture.pixels.shape
    if recipe.whole:
        return np.array([width / 2, height / 2]) + rng.uniform(-0.05, 0.05, 2) * max(height, width)
    if len(picture.boxes) and rng.random() < 0.85:
        x0, y0, x1, y1 = picture.boxes[rng.integers(len(picture.boxes))]
        away = rng.uniform(-0.38, 0.38, 2) * recipe.size_px
        return np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - np.linalg.inv(linear) @ away
    # Three quarters of the window stay on the picture: black border teaches nothing.
    half = 0.375 * recipe.size_px / float(np.sqrt(abs(np.linalg.det(linear))))
    reach_x, reach_y = min(half, width / 2), min(half, height / 2)
    return np.array([rng.uniform(reach_x, width - reach_x), rng.uniform(reach_y, height - reach_y)])


def _carry(boxes: Floats, linear: Floats, shift: Floats, turn_rad: float, size_px: int) -> tuple[Floats, Floats]:
    """Boxes in the window, clipped, ``(n, 4)``; and the share of each that is visible, ``(n,)``."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + shift
    extent = (boxes[:, 2:] - boxes[:, :2]) * np.linalg.norm(linear, axis=0)
    cosine, sine = abs(np.cos(turn_rad)), abs(np.sin(turn_rad))
    # A turned box needs a larger upright one, most of whose corners are empty.
    half = extent @ np.array([[cosine, sine], [sine, cosine]]) * 0.46
    full = np.concatenate([centres - half, centres + half], axis=1)
    clipped = np.clip(full, 0, size_px)
    area = np.maximum(np.prod(full[:, 2:] - full[:, :2], axis=1), 1e-6)
    return clipped, np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / area


def _label(picture: Picture, visible: Floats) -> tuple[float, float]:
    if not len(visible):
        return float(picture.fractured), 1.0
    seen = float(visible.max())
    return float(seen > 0.6), float(seen > 0.6 or seen < 0.05)


def _cells(boxes: Floats, visible: Floats, side: int) -> Floats:
    edges = np.arange(side) * float(STRIDE_PX)
    cells = np.zeros((side, side), np.float32)
    for (x0, y0, x1, y1), seen in zip(boxes, visible, strict=True):
        across = np.clip(np.minimum(x1, edges + STRIDE_PX) - np.maximum(x0, edges), 0, None)
        down = np.clip(np.minimum(y1, edges + STRIDE_PX) - np.maximum(y0, edges), 0, None)
        share = np.outer(down, across) / min(STRIDE_PX**2, max(1.0, (x1 - x0) * (y1 - y0)))
        cells[(share > 0.08) & (cells != FRACTURE)] = UNSURE
        if seen > 0.4:
            cells[share > 0.4] = FRACTURE
    return cells


def _expose(image: Floats, boxes: Floats, strength: float, rng: np.random.Generator) -> Floats:
    if rng.random() < 0.8:
        image = 255 * (image / 255) ** np.exp(rng.uniform(-0.4, 0.4) * strength)
    if rng.random() < 0.8:
        mean = image.mean()
        image = (image - mean) * rng.uniform(1 - 0.3 * strength, 1 + 0.3 * strength) + mean * rng.uniform(0.8, 1.2)
    image = _sharpness(image, rng)
    if rng.random() < 0.5:
        image = image + rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 9)
    if rng.random() < 0.3 * strength:
        image = _cut_out(image, boxes, rng)
    return np.clip(image, 0, 255).astype(np.float32)


def _sharpness(image: Floats, rng: np.random.Generator) -> Floats:
    choice = rng.random()
    if choice < 0.25:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0))
    if choice < 0.4:
        return image + (image - cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 2))) * rng.uniform(0.2, 0.9)
    return image


def _cut_out(image: Floats, boxes: Floats, rng: np.random.Generator) -> Floats:
    """Blank a rectangle (DeVries and Taylor 2017) that touches no marked fracture; three tries."""
    size = len(image)
    for _ in range(3):
        width, height = rng.integers(12, max(13, size // 4), 2)
        left, top = rng.integers(0, size - width), rng.integers(0, size - height)
        apart_x = (boxes[:, 2] <= left) | (boxes[:, 0] >= left + width)
        apart_y = (boxes[:, 3] <= top) | (boxes[:, 1] >= top + height)
        if (apart_x | apart_y).all():
            image = image.copy()
            image[top : top + height, left : left + width] = rng.uniform(0, 200)
            break
    return image
