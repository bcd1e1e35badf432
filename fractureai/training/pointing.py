"""How boxes and attention meet the marked fractures: the pointing game, overlap, and sensitivity against false
boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fractureai.training.readings import ImageReading

Box = tuple[float, float, float, float]
Floats = npt.NDArray[np.float64]

LEAST_OVERLAP = 0.1
"""Intersection over union from which a box counts as having found a fracture (FROC)."""


def marked(readings: Sequence[ImageReading]) -> list[ImageReading]:
    """The readings of images with marked fractures that a model has read."""
    return [reading for reading in readings if reading.sample.boxes and reading.probability == reading.probability]


def hits(readings: Sequence[ImageReading]) -> dict[str, Floats]:
    """What was hit in each image with marked fractures, ``(n,)`` 0 or 1 (Zhang et al. 2016).

    ``box_centre``: the centre of the most probable box; ``attention_peak``; ``image_centre``, the baseline.
    """
    return {
        "box_centre_in_fracture": _column(readings, lambda one: _centre(one.boxes[0].box_px) if one.boxes else None),
        "attention_peak_in_fracture": _column(readings, lambda one: one.attention_peak),
        "image_centre_in_fracture": _column(readings, lambda one: (one.source_px[1] / 2, one.source_px[0] / 2)),
    }


def overlaps(readings: Sequence[ImageReading]) -> Floats:
    """The best intersection over union of each image's most probable box with a marked fracture, ``(n,)``."""
    return np.array(
        [best_overlap(one.boxes[0].box_px, one.sample.boxes) if one.boxes else 0.0 for one in readings], np.float64
    )


def froc(readings: Sequence[ImageReading], false_per_image: Sequence[float]) -> dict[str, float]:
    """Sensitivity for marked fractures at a mean number of false boxes an image (Bunch 1978).

    All images count for the false boxes, normal ones too. A fracture is found by a box that overlaps it by
    :data:`LEAST_OVERLAP`; a box that finds one is not false, also if another found it before.
    """
    logits: list[float] = []
    false: list[bool] = []
    found: list[float] = []
    for one in readings:
        if one.sample.fractured and not one.sample.boxes:
            continue
        fractures = one.sample.boxes
        shares = [[overlap(box.box_px, other) >= LEAST_OVERLAP for other in fractures] for box in one.boxes]
        logits += [box.probability for box in one.boxes]
        false += [not any(row) for row in shares]
        for place in range(len(fractures)):
            met = [box.probability for box, row in zip(one.boxes, shares, strict=True) if row[place]]
            found.append(max(met, default=-1.0))
    images = sum(1 for one in readings if not (one.sample.fractured and not one.sample.boxes))
    wrong = np.sort(np.array(logits)[np.array(false, bool)])[::-1] if logits else np.zeros(0)
    result = {}
    for rate in false_per_image:
        allowed = int(rate * images)
        threshold = wrong[allowed] if allowed < len(wrong) else -0.5
        result[f"{rate:g}"] = float(np.mean(np.array(found) > threshold)) if found else float("nan")
    return result


def best_overlap(box: Box, others: Sequence[Box]) -> float:
    """The largest intersection over union of a box with any of the others; 0 without others."""
    return max((overlap(box, other) for other in others), default=0.0)


def overlap(one: Box, two: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / max(_area(one) + _area(two) - shared, 1e-9)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _column(readings: Sequence[ImageReading], point: Callable[[ImageReading], tuple[float, float] | None]) -> Floats:
    return np.array([_inside(point(one), one.sample.boxes) for one in readings], np.float64)


def _inside(point: tuple[float, float] | None, boxes: Sequence[Box]) -> bool:
    if point is None:
        return False
    x, y = point
    return any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
