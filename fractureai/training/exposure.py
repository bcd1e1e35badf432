"""Drawn pictures that are no limb radiograph, for the scope rule to learn from (outlier exposure, Hendrycks 2019).

Apart from the chests, which nothing else here can stand in for, they are drawn otherwise than the pictures of
``out_of_scope`` that measure the rule, and no photograph or foreign DICOM file is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.phantoms.chest import render_chest

Grey = npt.NDArray[np.uint8]
Labelled = tuple[str, Grey]

_SIDE_PX = 320
# Far from the chests that measure the rule, those of the demo and those of the tests.
_FIRST_CHEST_SEED = 700_000


def exposure_pictures(count: int, seed: int = 0) -> Iterator[Labelled]:
    """Yield ``count`` pictures of each kind as ``(kind, (H, W) uint8)``, the same for the same seed."""
    rng = np.random.default_rng([seed, 0xE0])
    for number in range(count):
        yield "chest", _chest(_FIRST_CHEST_SEED + number, rng)
        for kind, draw in _DRAWERS.items():
            yield kind, draw(rng)


def _chest(seed: int, rng: np.random.Generator) -> Grey:
    """A chest of any exposure, sometimes cropped, sometimes with a border."""
    height, width = (int(side) for side in rng.integers(280, 460, 2))
    picture = (render_chest(seed, height, width) / 4095.0) ** np.exp(rng.uniform(-0.6, 0.6))
    if rng.random() < 0.5:
        top, left = (int(rng.integers(0, side // 4)) for side in picture.shape)
        bottom, right = (int(side - rng.integers(0, side // 4)) for side in picture.shape)
        picture = picture[top:bottom, left:right]
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.0))
    return _as_grey(picture * rng.uniform(0.6, 1.0))


def _clouds(rng: np.random.Generator) -> Grey:
    """Noise whose spectrum falls with a power of the frequency, as in much of nature."""
    rows, columns = np.fft.fftfreq(_SIDE_PX)[:, None], np.fft.rfftfreq(_SIDE_PX)[None]
    frequency = np.maximum(np.hypot(rows, columns * rng.uniform(0.4, 2.5)), 1 / _SIDE_PX)
    phases = rng.uniform(0, 2 * np.pi, frequency.shape)
    field = np.fft.irfft2(frequency ** -rng.uniform(0.0, 3.0) * np.exp(1j * phases), (_SIDE_PX, _SIDE_PX))
    return _stretched(field, rng)


def _ramp(rng: np.random.Generator) -> Grey:
    """A slope, waves or nearly nothing."""
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX] / _SIDE_PX
    turn, waves = rng.uniform(0, 2 * np.pi), rng.choice([0.0, rng.uniform(0.5, 40.0)])
    along = np.cos(turn) * rows + np.sin(turn) * columns
    field = np.cos(2 * np.pi * waves * along) if waves else along + rng.uniform(-1, 1) * along**2
    field = field + rng.standard_normal(field.shape) * rng.choice([0.0, 0.02, 0.1])
    return _stretched(field, rng)


def _flat(rng: np.random.Generator) -> Grey:
    """One grey, from black to white, sometimes with a little noise, a border or a mark."""
    picture = np.full((_SIDE_PX, _SIDE_PX), rng.choice([0.0, 1.0, rng.random()]))
    if rng.random() < 0.5:
        picture += rng.standard_normal(picture.shape) * 10 ** rng.uniform(-2.5, -0.7)
    if rng.random() < 0.3:
        left, top = (int(value) for value in rng.integers(0, _SIDE_PX // 2, 2))
        picture[top : top + _SIDE_PX // 2, left : left + _SIDE_PX // 3] = rng.random()
    return _as_grey(picture)


def _slice(rng: np.random.Generator) -> Grey:
    """Ellipses in an ellipse on black, like a cut through a body."""
    picture = np.zeros((_SIDE_PX, _SIDE_PX))
    middle, reach = _SIDE_PX // 2, rng.uniform(0.25, 0.48) * _SIDE_PX
    for number in range(int(rng.integers(4, 16))):
        spread = 0 if number < 2 else reach * 0.6
        centre = tuple(int(middle + rng.uniform(-spread, spread)) for _ in range(2))
        size = reach * (1 - 0.1 * number) if number < 2 else reach * rng.uniform(0.05, 0.4)
        axes = (int(size), int(size * rng.uniform(0.55, 1.0)))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.random()), -1, cv2.LINE_AA)
    grain = rng.standard_normal(picture.shape) * rng.uniform(0.0, 0.12) * (picture > 0)
    return _as_grey(cv2.GaussianBlur(picture + grain, (0, 0), rng.uniform(0.4, 2.0)))


def _fan(rng: np.random.Generator) -> Grey:
    """Speckle in a sector on black, like an echo."""
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX]
    depth, angle = np.hypot(rows, columns - _SIDE_PX / 2), np.arctan2(columns - _SIDE_PX / 2, rows + 1.0)
    inside = (np.abs(angle) < rng.uniform(0.4, 1.0)) & (depth < rng.uniform(0.6, 1.0) * _SIDE_PX)
    speckle = np.hypot(*(cv2.GaussianBlur(rng.standard_normal((2, *rows.shape))[i], (0, 0), 1.5) for i in range(2)))
    layers = 1 + 0.6 * np.sin(depth / rng.uniform(4, 40)) + 0.4 * np.cos(angle * rng.uniform(1, 9))
    return _as_grey(inside * speckle * layers * rng.uniform(0.5, 2.0))


def _scene(rng: np.random.Generator) -> Grey:
    """Polygons before a sky of clouds: straight edges, flat faces and texture, like a photograph of things."""
    picture = _clouds(rng) / 255.0
    for _ in range(int(rng.integers(3, 14))):
        centre, reach = rng.uniform(0, _SIDE_PX, 2), rng.uniform(20, 160)
        corners = centre + rng.uniform(-reach, reach, (int(rng.integers(3, 7)), 2))
        mask = np.zeros_like(picture)
        cv2.fillPoly(mask, [cv2.convexHull(corners.astype(np.int32))], 1.0, cv2.LINE_AA)
        face = rng.random() + rng.uniform(0, 0.5) * (_clouds(rng) / 255.0 - 0.5)
        picture = picture * (1 - mask) + face * mask
    return _as_grey(picture)


def _strokes(rng: np.random.Generator) -> Grey:
    """Curves and dots of one pen on a page, dark on bright or bright on dark: a sketch, a plot, a line of writing."""
    page = np.zeros((int(_SIDE_PX * rng.uniform(0.7, 1.4)), _SIDE_PX), np.uint8)
    width = int(rng.integers(1, 6))
    for _ in range(int(rng.integers(2, 40))):
        steps = np.cumsum(rng.normal(0, rng.uniform(2, 20), (int(rng.integers(2, 30)), 2)), axis=0)
        line = (steps + rng.uniform(0, _SIDE_PX, 2)).astype(np.int32)
        cv2.polylines(page, [line], bool(rng.random() < 0.2), int(rng.integers(120, 256)), width, cv2.LINE_AA)
    return 255 - page if rng.random() < 0.5 else page


def _stretched(field: npt.NDArray[np.float64], rng: np.random.Generator) -> Grey:
    low, high = sorted(rng.uniform(0, 1, 2)) if rng.random() < 0.5 else (0.0, 1.0)
    unit = (field - field.min()) / max(float(np.ptp(field)), 1e-9)
    return _as_grey(low + (high - low) * unit)


def _as_grey(picture: npt.NDArray[np.float64]) -> Grey:
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, np.uint8)


_DRAWERS: dict[str, Callable[[np.random.Generator], Grey]] = {
    "clouds": _clouds,
    "ramp": _ramp,
    "flat": _flat,
    "slice": _slice,
    "fan": _fan,
    "scene": _scene,
    "strokes": _strokes,
}
