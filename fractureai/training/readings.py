"""What the shipped models say of a dataset: the numbers that calibration and evaluation start from.

Images go the way of serving: the same decoder, canvas, engine and calibration. The fracture model is the one of the
image's labelled region, so that a mistake of the region classifier is counted where it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import crop_map
from fractureai.domain.ports import Models
from fractureai.domain.radiograph import Radiograph
from fractureai.domain.roi import roi_from_attention
from fractureai.domain.scores import FractureReading
from fractureai.errors import RejectedInput
from fractureai.training.datasets.values import LeftOut, Sample

Box = tuple[float, float, float, float]
Decode = Callable[[Path], Radiograph]


@dataclass(frozen=True, slots=True)
class Localisation:
    """How the attention meets the labelled boxes of a fractured image.

    Attributes
    ----------
    peak_hit, centre_hit:
        Whether the attention's peak, or the centre of the image, lies in a box (the pointing game, Zhang et al. 2016).
    overlap, centre_overlap:
        Best intersection over union with a box, of the region of interest, and of a box of its size at the centre.
    box_share:
        Area of the largest box over that of the image.
    """

    peak_hit: bool
    centre_hit: bool
    overlap: float
    centre_overlap: float
    box_share: float


@dataclass(frozen=True, slots=True)
class ImageReading:
    """One sample and what the models say of it; ``probability`` is ``nan`` where its region has no model."""

    sample: Sample
    region_probabilities: tuple[float, ...]
    scope_score: float
    probability: float
    spread: float
    localisation: Localisation | None


def read_samples(samples: Iterable[Sample], models: Models, decode: Decode) -> tuple[list[ImageReading], list[LeftOut]]:
    """Read every sample; those that cannot be decoded are left out with the reason a user would be given."""
    readings, left_out = [], []
    for sample in samples:
        try:
            radiograph = decode(sample.image_path)
        except RejectedInput as error:
            left_out.append(LeftOut(sample.image_id, error.code))
            continue
        readings.append(_read(sample, radiograph, models))
    return readings, left_out


def _read(sample: Sample, radiograph: Radiograph, models: Models) -> ImageReading:
    (region,) = models.region().read([radiograph.pixels])
    model = models.fracture(sample.region)
    fracture = None if model is None else model.read([radiograph.pixels])[0]
    return ImageReading(
        sample=sample,
        region_probabilities=tuple(region.probabilities.values()),
        scope_score=region.scope_score,
        probability=math.nan if fracture is None else fracture.probability,
        spread=math.nan if fracture is None else fracture.spread,
        localisation=None if fracture is None or not sample.boxes else _localise(sample, radiograph, fracture),
    )


def _localise(sample: Sample, radiograph: Radiograph, fracture: FractureReading) -> Localisation:
    height, width = radiograph.pixels.shape
    gain_x, gain_y = width / radiograph.source_width_px, height / radiograph.source_height_px
    boxes = [(x0 * gain_x, y0 * gain_y, x1 * gain_x, y1 * gain_y) for x0, y0, x1, y1 in sample.boxes]
    over_image = crop_map(fracture.attention, height, width)
    row, column = divmod(int(over_image.argmax()), width)
    roi = roi_from_attention(fracture.attention, height, width)
    centred = None if roi is None else _centred(roi, height, width)
    return Localisation(
        peak_hit=_inside(column + 0.5, row + 0.5, boxes),
        centre_hit=_inside(width / 2, height / 2, boxes),
        overlap=0.0 if roi is None else best_overlap(roi, boxes),
        centre_overlap=0.0 if centred is None else best_overlap(centred, boxes),
        box_share=max((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / (height * width),
    )


def best_overlap(box: Box, others: Sequence[Box]) -> float:
    """The largest intersection over union of a box with any of the others; 0 without others."""
    return max((_overlap(box, other) for other in others), default=0.0)


def _overlap(one: Box, two: Box) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (_area(one) + _area(two) - shared)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _inside(x: float, y: float, boxes: Sequence[Box]) -> bool:
    return any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)


def _centred(box: tuple[int, int, int, int], height: int, width: int) -> Box:
    half_width, half_height = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    return width / 2 - half_width, height / 2 - half_height, width / 2 + half_width, height / 2 + half_height


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Readings of images whose region has a model, as arrays of one length."""

    fractured: npt.NDArray[np.bool_]
    probability: npt.NDArray[np.float64]
    block: npt.NDArray[np.str_]


def columns(readings: Sequence[ImageReading]) -> Columns:
    """The arrays of readings with a fracture probability."""
    assessed = [reading for reading in readings if not math.isnan(reading.probability)]
    return Columns(
        fractured=np.array([reading.sample.fractured for reading in assessed], bool),
        probability=np.array([reading.probability for reading in assessed], np.float64),
        block=np.array([reading.sample.block for reading in assessed], np.str_),
    )
