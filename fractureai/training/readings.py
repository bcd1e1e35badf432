"""What the models of a folder say of a dataset: the numbers that calibration and evaluation start from.

Images go the way of serving: the same decoder, canvas, engine and calibration. The fracture model is the one of the
image's labelled region, so that a mistake of the region classifier is counted where it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fractureai.domain.calibration import sigmoid
from fractureai.domain.card import ModelCard
from fractureai.domain.localisation import places
from fractureai.domain.ports import FractureModel, Models
from fractureai.domain.radiograph import Radiograph
from fractureai.domain.scores import Box, NetworkReading
from fractureai.errors import RejectedInput
from fractureai.training.datasets.values import LeftOut, Sample

Decode = Callable[[Path], Radiograph]

_MOST_CANDIDATES = 20


@dataclass(frozen=True, slots=True, eq=False)
class RawReading:
    """One sample and what the networks say of it, before any card interprets it.

    Attributes
    ----------
    source_px:
        Height and width of the file's own grid, on which its boxes are given.
    of_region, of_fracture:
        Of the region classifier's network, and of the network of the labelled region's fracture model (``None`` if
        there is none); the same object where both share a network.
    """

    sample: Sample
    source_px: tuple[int, int]
    of_region: NetworkReading = field(repr=False)
    of_fracture: NetworkReading | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageReading:
    """One sample and what the models say of it.

    Attributes
    ----------
    probability, spread:
        ``nan`` where the region has no model.
    boxes:
        All candidates for a fracture, also those too improbable to be shown; px of the file, most probable first.
    attention_peak:
        ``x, y`` px of the file; ``None`` where nothing speaks for a fracture.
    source_px:
        Height and width of the file's own grid.
    """

    sample: Sample
    region_probabilities: tuple[float, ...]
    scope_score: float
    probability: float
    spread: float
    boxes: tuple[Box, ...]
    attention_peak: tuple[float, float] | None
    source_px: tuple[int, int]


def read_samples(samples: Iterable[Sample], models: Models, decode: Decode) -> tuple[list[RawReading], list[LeftOut]]:
    """Read every sample; those that cannot be decoded are left out with the reason a user would be given."""
    readings, left_out = [], []
    for sample in samples:
        try:
            radiograph = decode(sample.image_path)
        except RejectedInput as error:
            left_out.append(LeftOut(sample.image_id, error.code))
            continue
        extent = (radiograph.source_height_px, radiograph.source_width_px)
        readings.append(read_pixels(sample, radiograph.pixels, models, extent))
    return readings, left_out


def read_pixels(
    sample: Sample, pixels: npt.NDArray[np.uint8], models: Models, source_px: tuple[int, int] | None = None
) -> RawReading:
    """Read a picture ``(H, W)`` uint8 under the labels of a sample."""
    of_region = models.region().read(pixels)
    model = models.fracture(sample.region)
    of_fracture = of_region if model is None or model.network == of_region.network else model.read(pixels)
    return RawReading(sample, source_px or pixels.shape, of_region, None if model is None else of_fracture)


def interpret(readings: Iterable[RawReading], models: Models) -> list[ImageReading]:
    """What the models' cards make of readings."""
    return [_interpreted(raw, models) for raw in readings]


def _interpreted(raw: RawReading, models: Models) -> ImageReading:
    region = models.region().interpret(raw.of_region)
    model = models.fracture(raw.sample.region)
    if model is None or raw.of_fracture is None:
        nothing = (math.nan, math.nan, (), None)
    else:
        found = model.interpret(raw.of_fracture)
        nothing = (found.probability, found.spread, _boxes(raw, model), _peak(raw, found.attention))
    return ImageReading(raw.sample, tuple(region.probabilities.values()), region.scope_score, *nothing, raw.source_px)


def _boxes(raw: RawReading, model: FractureModel) -> tuple[Box, ...]:
    found = candidate_boxes(raw, model.card)
    rule = model.card.localisation
    if rule is None:
        return ()
    return tuple(
        Box((float(x0), float(y0), float(x1), float(y1)), sigmoid(rule.slope * float(logit) + rule.intercept))
        for (x0, y0, x1, y1), logit in zip(*found, strict=True)
    )


def candidate_boxes(raw: RawReading, card: ModelCard) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Boxes ``(n, 4)`` px of the file and their logits ``(n,)``, strongest first; none without a localisation head."""
    reading = raw.of_fracture
    if reading is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    found = places(reading, card.network.cells, _MOST_CANDIDATES)
    return (found.boxes * _gain(raw, reading)).astype(np.float32), found.logits


def _peak(raw: RawReading, attention: npt.NDArray[np.float32]) -> tuple[float, float] | None:
    """Where the attention is highest, px of the file."""
    reading = raw.of_fracture
    if reading is None or attention.max() <= 0:
        return None
    row, column = np.unravel_index(int(attention.argmax()), attention.shape)
    canvas = reading.placement.canvas
    x = (column + 0.5) * canvas.width_px / attention.shape[1]
    y = (row + 0.5) * canvas.height_px / attention.shape[0]
    (x0, y0, _, _) = reading.placement.to_image(np.array([[x, y, x, y]], np.float32))[0] * _gain(raw, reading)
    return float(x0), float(y0)


def _gain(raw: RawReading, reading: NetworkReading) -> npt.NDArray[np.float64]:
    """From px of the picture that was read to px of the file, for boxes."""
    height, width = raw.source_px
    placement = reading.placement
    return np.array([width / placement.image_width_px, height / placement.image_height_px] * 2)


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
