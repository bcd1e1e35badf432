"""Changes a radiograph may undergo without changing its reading, with the marked fractures carried along.

One affine map brings a picture to the canvas: cut to the anatomy or not, upright or not, upside down as often as not,
from a third of the usual scale to three times. What hospitals differ in besides is in
:mod:`fractureai.training.appearance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.domain.limb import Rectangle
from fractureai.training.appearance import change, replace_ground
from fractureai.training.architecture import LOCAL_STRIDE_PX, STRIDE_PX
from fractureai.training.pictures import Picture

Floats = npt.NDArray[np.float32]
FRACTURE, UNSURE, INTACT = 1.0, -1.0, 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How far pictures are changed.

    Attributes
    ----------
    height_px, width_px:
        What the network sees.
    full_height_px, full_width_px:
        Scale: what the whole anatomy would fill before it is zoomed. The same as the former shows the whole of it;
        larger shows a window, near a fracture as often as there is one.
    zoom:
        Largest natural logarithm of the usual change in scale.
    far, near:
        Share of the pictures that are shown down to a third of their size, and up to three times.
    turn_deg:
        Largest rotation.
    upside_down, quarter_turned, uncut:
        Share of the pictures turned by 180°, by 90° out of the upright, and shown with all that surrounds the anatomy.
    strength:
        Of the changes of appearance; 0 switches them off.
    """

    height_px: int
    width_px: int
    full_height_px: int
    full_width_px: int
    zoom: float = 0.25
    far: float = 0.12
    near: float = 0.18
    turn_deg: float = 20.0
    upside_down: float = 0.5
    quarter_turned: float = 0.15
    uncut: float = 0.2
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.height_px % STRIDE_PX or self.width_px % STRIDE_PX:
            raise ValueError(f"sides must be multiples of {STRIDE_PX} px, got {self}")

    @property
    def windowed(self) -> bool:
        """Whether a part of the anatomy is shown."""
        return self.height_px < self.full_height_px


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One training example.

    Attributes
    ----------
    image:
        ``(H, W)`` float32, grey 0..255.
    fractured, weight:
        The label of what is shown and how much it counts: 0 if the fracture is cut off by the border.
    cells:
        ``(H/16, W/16)`` float32, ``FRACTURE`` (its middle), ``INTACT`` or ``UNSURE`` (not counted) for each cell of the
        localisation map.
    sides:
        ``(H/16, W/16, 4)`` float32, px from the cell's centre to the fracture's left, top, right and bottom; where a
        cell is ``FRACTURE``, else 0.
    """

    image: Floats
    fractured: float
    weight: float
    cells: Floats
    sides: Floats


def vary(picture: Picture, recipe: Recipe, rng: np.random.Generator, others: list[npt.NDArray[np.uint8]]) -> View:
    """Draw one view of a picture; ``others`` are pictures whose exposure it may take on."""
    shown = _shown(picture, recipe, rng)
    linear = _linear_map(shown, recipe, rng)
    close = recipe.windowed
    tail = rng.random()
    if tail < recipe.far:
        linear = linear * np.exp(rng.uniform(-np.log(3.0), 0.0))
    elif tail < recipe.far + recipe.near:
        linear, close = linear * np.exp(rng.uniform(0.0, np.log(3.0))), True
    centre = _near(picture, shown, linear, recipe, rng) if close else _middle(shown, linear, recipe, rng)
    shift = np.array([recipe.width_px / 2, recipe.height_px / 2]) - linear @ centre
    image = _warped(picture, linear, shift, recipe, rng)
    boxes, visible = carried(picture.boxes, linear, shift, (recipe.height_px, recipe.width_px))
    fractured, weight = _label(picture, visible, close)
    image = change(image, boxes, recipe.strength * rng.uniform(0.2, 1.0), rng, others)
    cells, sides = targets(boxes, visible, recipe.height_px // LOCAL_STRIDE_PX, recipe.width_px // LOCAL_STRIDE_PX)
    if picture.fractured and not len(picture.boxes):
        cells[:] = UNSURE
    return View(image, fractured, weight, cells, sides)


def _shown(picture: Picture, recipe: Recipe, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The part of the picture that is to fill the canvas, ``x0 y0 x1 y1`` px: a little more or less than serving
    cuts.
    """
    height, width = picture.pixels.shape
    x0, y0, x1, y1 = Rectangle(0, 0, width, height) if rng.random() < recipe.uncut else picture.limb
    extent = np.array([x1 - x0, y1 - y0])
    low = np.array([x0, y0]) - rng.uniform(-0.04, 0.08, 2) * extent
    high = np.array([x1, y1]) + rng.uniform(-0.04, 0.08, 2) * extent
    return np.concatenate([low, high])


def _linear_map(shown: npt.NDArray[np.float64], recipe: Recipe, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    width, height = shown[2] - shown[0], shown[3] - shown[1]
    turned = width > height
    if 0.85 < width / height < 1.18:
        turned = bool(rng.random() < 0.5)
    turned ^= bool(rng.random() < recipe.quarter_turned)
    across, down = (height, width) if turned else (width, height)
    zoom = min(recipe.full_width_px / across, recipe.full_height_px / down) * np.exp(
        rng.uniform(-recipe.zoom, 0.8 * recipe.zoom)
    )
    turn = np.deg2rad(rng.uniform(-recipe.turn_deg, recipe.turn_deg)) if rng.random() < 0.7 else 0.0
    turn += (np.pi / 2 if turned else 0.0) + (np.pi if rng.random() < recipe.upside_down else 0.0)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    stretch = np.exp(rng.uniform(-0.08, 0.08))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotation @ np.diag([mirror * zoom * stretch, zoom / stretch])


def _middle(
    shown: npt.NDArray[np.float64], linear: npt.NDArray[np.float64], recipe: Recipe, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A point near the middle; what is small on its canvas may be anywhere on it."""
    canvas = np.array([recipe.width_px, recipe.height_px])
    covered = np.abs(linear) @ (shown[2:] - shown[:2])
    free = np.maximum(0.06 * canvas, 0.45 * (canvas - covered))
    return (shown[:2] + shown[2:]) / 2 - np.linalg.inv(linear) @ (rng.uniform(-1, 1, 2) * free)


def _near(
    picture: Picture,
    shown: npt.NDArray[np.float64],
    linear: npt.NDArray[np.float64],
    recipe: Recipe,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """A point so that a fracture is in the window, or anywhere on the anatomy."""
    canvas = np.array([recipe.width_px, recipe.height_px])
    if len(picture.boxes) and rng.random() < 0.85:
        box = picture.boxes[rng.integers(len(picture.boxes))]
        return (box[:2] + box[2:]) / 2 - np.linalg.inv(linear) @ (rng.uniform(-0.38, 0.38, 2) * canvas)
    middle = (shown[:2] + shown[2:]) / 2
    rows, columns = np.nonzero(picture.texture)
    if not len(rows):
        return middle
    at, gain = rng.integers(len(rows)), picture.pixels.shape[1] / picture.texture.shape[1]
    half = np.abs(np.linalg.inv(linear)) @ (0.32 * canvas)
    point = np.array([columns[at], rows[at]]) * gain
    return np.clip(point, np.minimum(shown[:2] + half, middle), np.maximum(shown[2:] - half, middle))


def _warped(
    picture: Picture, linear: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], recipe: Recipe,
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    source, ground = picture.pixels, 0.0
    if rng.random() < 0.15 * recipe.strength:
        source, ground = replace_ground(picture.pixels, picture.texture, rng)
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    if scale < 0.7:  # averaged first: a warp skips pixels
        size = (max(1, round(source.shape[1] * scale)), max(1, round(source.shape[0] * scale)))
        reduced = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        linear = linear @ np.diag([source.shape[1] / size[0], source.shape[0] / size[1]])
        source = np.asarray(reduced, np.uint8)
    # OpenCV counts from the centres of pixels.
    offset = shift + linear @ [0.5, 0.5] - 0.5
    return np.asarray(
        cv2.warpAffine(
            source,
            np.concatenate([linear, offset[:, None]], axis=1),
            (recipe.width_px, recipe.height_px),
            flags=cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=ground,
        ),
        np.float32,
    )


def carried(
    boxes: Floats, linear: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], canvas_px: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Boxes ``(n, 4)`` of a picture on a canvas ``(height, width)``, clipped, and the share of each that is visible.

    A turned box needs a larger upright one, most of whose corners are empty: half of the way to it is taken from the
    ellipse within.
    """
    if not len(boxes):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + shift
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    ellipse, square = np.sqrt(half**2 @ (linear**2).T), half @ np.abs(linear).T
    extent = 0.5 * ellipse + 0.5 * np.minimum(square, 1.2 * ellipse)
    full = np.concatenate([centres - extent, centres + extent], axis=1)
    clipped = np.clip(full, 0, [canvas_px[1], canvas_px[0]] * 2)
    area = np.maximum(np.prod(2 * extent, axis=1), 1e-6)
    seen = np.prod(np.maximum(clipped[:, 2:] - clipped[:, :2], 0), axis=1) / area
    return clipped.astype(np.float32), seen.astype(np.float32)


def targets(boxes: Floats, visible: Floats, rows: int, columns: int) -> tuple[Floats, Floats]:
    """What the localisation head should say of boxes on a canvas: ``cells`` and ``sides`` of :class:`View`."""
    cells, sides = np.zeros((rows, columns), np.float32), np.zeros((rows, columns, 4), np.float32)
    down, across = np.meshgrid(
        (np.arange(rows) + 0.5) * LOCAL_STRIDE_PX, (np.arange(columns) + 0.5) * LOCAL_STRIDE_PX, indexing="ij"
    )
    largest_first = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")
    for x0, y0, x1, y1, seen in (*((*boxes[place], visible[place]) for place in largest_first),):
        if seen < 0.05:
            continue
        off_x, off_y = np.abs(across - (x0 + x1) / 2), np.abs(down - (y0 + y1) / 2)
        half_x, half_y = max((x1 - x0) / 2, 1.0), max((y1 - y0) / 2, 1.0)
        around = (off_x <= max(1.1 * half_x, LOCAL_STRIDE_PX)) & (off_y <= max(1.1 * half_y, LOCAL_STRIDE_PX))
        cells[around & (cells != FRACTURE)] = UNSURE
        if seen > 0.4:
            least = 0.51 * LOCAL_STRIDE_PX
            middle = (off_x <= max(0.55 * half_x, least)) & (off_y <= max(0.55 * half_y, least))
            cells[middle] = FRACTURE
            reach = np.stack([across - x0, down - y0, x1 - across, y1 - down], axis=-1)
            sides[middle] = np.maximum(reach, 0.5)[middle]
    return cells, sides


def _label(picture: Picture, visible: Floats, close: bool) -> tuple[float, float]:
    if not len(visible):
        return float(picture.fractured), float(not (picture.fractured and close))
    seen = float(visible.max())
    return float(seen > 0.6), float(seen > 0.6 or seen < 0.05)
