"""Recalibrate the models of an installation: on what folds of the training say of images they did not see, or on a
site's own images.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fractureai.domain.card import Localisation, ModelCard
from fractureai.errors import BrokenDeployment
from fractureai.training.calibrate import HeldOut, calibrate_boxes, calibrate_fracture, calibrate_region
from fractureai.training.card_files import changed, without_measurements
from fractureai.training.datasets.values import Dataset, Sample, Split
from fractureai.training.operating_points import Levels
from fractureai.training.pointing import LEAST_OVERLAP, best_overlap
from fractureai.training.readings import RawReading, candidate_boxes

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
    false_boxes:
        How many false boxes an image may be shown on average.
    """

    levels: Levels
    source: str
    keep_version: bool = False
    false_boxes: float = 0.25


def unseen_splits(dataset: Dataset, cards: Mapping[str, ModelCard]) -> tuple[Split, ...]:
    """The splits the models have not learnt from and that are not kept for the test.

    Only ``val`` of a dataset the cards name as their own; ``train`` as well of any other.
    """
    family = dataset.name.split(" ")[0].lower()
    own = any(family and family in card.data.name.lower() for card in cards.values())
    return ("val",) if own else ("train", "val")


def recalibrate(cards: Cards, readings: Sequence[RawReading], how: Recalibration) -> Cards:
    """New cards for all models that read at least one image of both classes; the others are left out.

    The readings may come from other networks of the same shape than the cards name: from the folds of their training.
    """
    of_region = {card.region: card for card in cards.values() if card.task == "fracture"}
    parts: dict[str, list[RawReading]] = defaultdict(list)
    for raw in readings:
        if raw.sample.region in of_region and raw.of_fracture is not None:
            parts[raw.sample.region].append(raw)
    held_out = {
        region: _held_out(part, of_region[region])
        for region, part in sorted(parts.items())
        if len({raw.sample.fractured for raw in part}) == 2
    }
    new = _fracture_cards(of_region, held_out, how, readings)
    for card in cards.values():
        if card.task == "region":
            new[card.name] = _region_card(card, readings, how)
    return new


def _held_out(readings: Sequence[RawReading], card: ModelCard) -> HeldOut:
    found = [raw.of_fracture for raw in readings if raw.of_fracture is not None]
    column, channel = card.network.logits[0], card.network.cells
    logits = np.array([reading.logits[:, column].mean() for reading in found], np.float64)
    peaks = [reading.cells[..., channel].max() for reading in found if reading.cells is not None]
    whole = channel is not None and len(peaks) == len(found)
    return HeldOut(
        logits, np.array(peaks, np.float64) if whole else None, np.array([raw.sample.fractured for raw in readings])
    )


def _fracture_cards(
    of_region: Mapping[str | None, ModelCard],
    held_out: Mapping[str, HeldOut],
    how: Recalibration,
    readings: Sequence[RawReading],
) -> Cards:
    if not held_out:
        raise BrokenDeployment("there is no region with a model and both fractured and normal images")
    new = {}
    samples = [raw.sample for raw in readings]
    localisation = _localisation(of_region, readings, how)
    for region, found in calibrate_fracture(held_out, how.levels, how.source).items():
        card = of_region[region]
        new[card.name] = changed(
            card,
            version=_version(card, how, samples),
            calibration=found.calibration.model_dump(mode="json"),
            operating_points=found.operating_points.model_dump(mode="json"),
            localisation=localisation.model_dump(mode="json") if card.localisation and localisation else None,
            metrics=without_measurements(card.metrics),
        )
    return new


def _localisation(
    of_region: Mapping[str | None, ModelCard], readings: Sequence[RawReading], how: Recalibration
) -> Localisation | None:
    """How probable boxes are, of all regions together: a region alone has too few."""
    logits, found, images = [], [], 0
    for raw in readings:
        card = of_region.get(raw.sample.region)
        if card is None or (raw.sample.fractured and not raw.sample.boxes):
            continue
        images += 1
        boxes, values = candidate_boxes(raw, card)
        logits += values.tolist()
        found += [best_overlap(tuple(box), raw.sample.boxes) >= LEAST_OVERLAP for box in boxes.tolist()]
    if not any(found) or all(found):
        return None
    return calibrate_boxes(np.array(logits), np.array(found, bool), images, how.false_boxes, how.source)


def _region_card(card: ModelCard, readings: Sequence[RawReading], how: Recalibration) -> ModelCard:
    known = [raw for raw in readings if raw.sample.region in card.classes]
    classes = np.array([card.classes.index(raw.sample.region) for raw in known], np.int64)
    if len(set(classes.tolist())) < 2:
        return card
    logits = np.array([raw.of_region.logits[:, card.network.logits].mean(axis=0) for raw in known], np.float64)
    fitted = calibrate_region(logits, classes, how.source)
    return changed(
        card,
        version=_version(card, how, [raw.sample for raw in known]),
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
