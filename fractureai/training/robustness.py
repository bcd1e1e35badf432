"""What becomes of region, scope and fracture when a radiograph is turned, scaled, framed, dimmed or compressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain.ports import Models
from fractureai.errors import RejectedInput
from fractureai.imaging.grayscale import fill_scale
from fractureai.training.datasets.values import Sample
from fractureai.training.evaluate import macro_auc, plain
from fractureai.training.readings import ImageReading, RawReading, interpret, read_pixels
from fractureai.training.variations import VARIATIONS, shares_visible

Grey = npt.NDArray[np.uint8]

_SEEN = 0.6
"""A fracture of which less is left in the picture is no fracture of that picture; nor is the picture normal."""


def read_variations(pictures: Iterable[tuple[Sample, Grey]], models: Models) -> dict[str, list[RawReading]]:
    """Read every picture in every variation; what is refused for its grey values is left out.

    ``pictures`` are decoded, ``(H, W)`` uint8, on the grid of the sample's boxes.
    """
    readings: dict[str, list[RawReading]] = {name: [] for name in VARIATIONS}
    for sample, pixels in pictures:
        boxes = np.array(sample.boxes, np.float32).reshape(-1, 4)
        for name, change in VARIATIONS.items():
            changed, moved = change(pixels, boxes)
            if sample.fractured and len(boxes) and shares_visible(moved, changed).max() < _SEEN:
                continue
            try:
                readings[name].append(read_pixels(sample, fill_scale(changed), models))
            except RejectedInput:
                continue
    return readings


def robustness_figures(readings: Mapping[str, list[RawReading]], models: Models) -> dict[str, dict[str, Any]]:
    """A row a variation: region accuracy, share accepted, macro AUC of fractures, and how many pictures were read."""
    return {name: _row(interpret(raw, models), models) for name, raw in readings.items() if raw}


def _row(readings: list[ImageReading], models: Models) -> dict[str, Any]:
    card = models.region().card
    known = [one for one in readings if one.sample.region in card.classes]
    truth = np.array([card.classes.index(one.sample.region) for one in known])
    probabilities = np.array([one.region_probabilities for one in known])
    assessed = [one for one in readings if not np.isnan(one.probability)]
    row: dict[str, Any] = {
        "images": len(readings),
        "region_accuracy": plain(float((probabilities.argmax(axis=1) == truth).mean())),
        "macro_auc": plain(
            macro_auc(
                np.array([one.sample.fractured for one in assessed], bool),
                np.array([one.probability for one in assessed]),
                np.array([one.sample.region for one in assessed]),
            )
        ),
    }
    if card.scope is not None:
        scores = np.array([one.scope_score for one in known])
        sure = probabilities.max(axis=1) >= card.scope.min_region_probability
        row["accepted"] = plain(float(((scores >= card.scope.threshold) & sure).mean()))
    return row
