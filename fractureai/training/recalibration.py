"""Calibrating the models of an installation anew: on held-out logits of training, or on a site's own images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fractureai.domain.card import ModelCard
from fractureai.errors import BrokenDeployment
from fractureai.training.calibrate import (
    HeldOut,
    calibrate_fracture,
    calibrate_region,
    logits_of,
    region_logits_of,
)
from fractureai.training.card_files import changed, without_measurements
from fractureai.training.datasets.values import Dataset, Sample, Split
from fractureai.training.evaluate import by_region
from fractureai.training.operating_points import Levels
from fractureai.training.readings import ImageReading

Cards = dict[str, ModelCard]


@dataclass(frozen=True, slots=True)
class Recalibration:
    """How to calibrate.

    Attributes
    ----------
    levels:
        What the two thresholds promise.
    source:
        Where the images come from, for the card.
    keep_version:
        Leave the version as it is (before a release); otherwise a mark of the data is added to it.
    """

    levels: Levels
    source: str
    keep_version: bool = False


def unseen_splits(dataset: Dataset, cards: Mapping[str, ModelCard]) -> tuple[Split, ...]:
    """The splits the models have not learnt from and that are not kept for the test.

    Only ``val`` of a dataset the cards name as their own; ``train`` as well of any other.
    """
    family = dataset.name.split(" ")[0].lower()
    own = any(family and family in card.data.name.lower() for card in cards.values())
    return ("val",) if own else ("train", "val")


def recalibrate(cards: Cards, readings: Sequence[ImageReading], how: Recalibration) -> Cards:
    """New cards for all models that read at least one image of both classes; the others are left out."""
    parts = by_region(readings)
    of_region = {card.region: card for card in cards.values() if card.task == "fracture"}
    held_out = {
        region: _held_out(part, of_region[region])
        for region, part in parts.items()
        if region in of_region and len({reading.sample.fractured for reading in part}) == 2
    }
    samples = [reading.sample for reading in readings]
    new = _fracture_cards(of_region, held_out, how, samples)
    for card in cards.values():
        if card.task == "region":
            new[card.name] = _region_card(card, readings, how)
    return new


def recalibrate_from_logits(cards: Cards, dataset: Dataset, file: Path, how: Recalibration) -> Cards:
    """New fracture cards from a ``.npz`` of held-out logits: ``image_id`` ``(n,)`` and ``logits`` ``(n,)``.

    The logits are those of folds that had not seen the image; labels and regions come from the dataset.
    """
    try:
        with np.load(file, allow_pickle=False) as data:
            logits = dict(
                zip(data["image_id"].tolist(), data["logits"].reshape(-1).astype(float).tolist(), strict=True)
            )
    except (OSError, KeyError, ValueError) as error:
        raise BrokenDeployment(f"{file} holds no held-out logits (image_id, logits): {error}") from error
    of_region = {card.region: card for card in cards.values() if card.task == "fracture"}
    samples = [sample for sample in dataset.samples if sample.image_id in logits and sample.region in of_region]
    if any(sample.split == "test" for sample in samples):
        raise BrokenDeployment(f"{file} holds images of the test split; nothing is chosen on those")
    held_out = {}
    for region in sorted({sample.region for sample in samples}):
        own = [sample for sample in samples if sample.region == region]
        values = np.array([logits[sample.image_id] for sample in own])
        held_out[region] = HeldOut(values, np.array([sample.fractured for sample in own], bool))
    return _fracture_cards(of_region, held_out, how, samples)


def _held_out(readings: Sequence[ImageReading], card: ModelCard) -> HeldOut:
    kept = [reading for reading in readings if not math.isnan(reading.probability)]
    probabilities = np.array([reading.probability for reading in kept], np.float64)
    return HeldOut(logits_of(probabilities, card), np.array([reading.sample.fractured for reading in kept], bool))


def _fracture_cards(
    of_region: Mapping[str | None, ModelCard],
    held_out: Mapping[str, HeldOut],
    how: Recalibration,
    samples: Sequence[Sample],
) -> Cards:
    if not held_out:
        raise BrokenDeployment("there is no region with a model and both fractured and normal images")
    new = {}
    for region, found in calibrate_fracture(held_out, how.levels, how.source).items():
        card = of_region[region]
        new[card.name] = changed(
            card,
            version=_version(card, how, samples),
            calibration=found.calibration.model_dump(mode="json"),
            operating_points=found.operating_points.model_dump(mode="json"),
            metrics=without_measurements(card.metrics),
        )
    return new


def _region_card(card: ModelCard, readings: Sequence[ImageReading], how: Recalibration) -> ModelCard:
    known = [reading for reading in readings if reading.sample.region in card.classes]
    classes = np.array([card.classes.index(reading.sample.region) for reading in known], np.int64)
    if len(set(classes.tolist())) < 2:
        return card
    probabilities = np.array([reading.region_probabilities for reading in known], np.float64)
    fitted = calibrate_region(region_logits_of(probabilities, card), classes, how.source)
    return changed(
        card,
        version=_version(card, how, [reading.sample for reading in known]),
        calibration=fitted.model_dump(mode="json"),
        metrics=without_measurements(card.metrics),
    )


def _version(card: ModelCard, how: Recalibration, samples: Sequence[Sample]) -> str:
    """``1.0.0`` → ``1.0.0+site.1a2b3c4d``: the mark tells which images and levels made it, and is the same for them."""
    if how.keep_version:
        return card.version
    lines = sorted(f"{sample.image_id} {sample.region} {sample.fractured}" for sample in samples)
    mark = hashlib.sha256("\n".join([repr(how.levels), *lines]).encode()).hexdigest()[:8]
    return f"{card.version.split('+')[0]}+site.{mark}"
