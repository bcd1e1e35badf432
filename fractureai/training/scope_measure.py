"""Features and confidence of samples and foreign pictures, and what the scope rule does to changed radiographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain.calibration import softmax
from fractureai.domain.card import ModelCard
from fractureai.inference.engine import Engine
from fractureai.inference.readers import read_features
from fractureai.inference.scope import ScopeModel
from fractureai.phantoms.render import REGIONS, VIEWS, PhantomSpec, render
from fractureai.training.exposure import exposure_pictures, inverted
from fractureai.training.out_of_scope import Picture, dicom_pictures, drawn_pictures, photographs
from fractureai.training.scope_fit import Exposure, Limits, Readings

Grey = npt.NDArray[np.uint8]

VARIANTS: dict[str, Callable[[Grey], Grey]] = {
    "limb, mirrored": lambda image: image[:, ::-1],
    "limb, turned by 90°": lambda image: np.rot90(image),
    "limb, turned by 180°": lambda image: np.rot90(image, 2),
    "limb, inverted (bones dark)": lambda image: 255 - image,
    "limb, half of it": lambda image: image[: max(32, image.shape[0] // 2)],
    "limb, darker": lambda image: np.asarray(image * 0.5, np.uint8),
}


def picture_readings(engine: Engine, card: ModelCard, pictures: Iterable[tuple[str, Grey]]) -> Readings:
    """Read pictures given as ``(kind, pixels)``, one at a time, so that memory stays small."""
    kinds, features, confidence = [], [], []
    for kind, pixels in pictures:
        logits, found = read_features(engine, card.input, [np.ascontiguousarray(pixels)])
        kinds.append(kind)
        features.append(found[0])
        confidence.append(float(softmax(logits, card.calibration.temperature).max()))
    return Readings(np.array(features, np.float32), np.array(confidence, np.float64), tuple(kinds))


def limb_phantoms(count: int, seed: int = 900_000) -> Iterator[tuple[str, Grey]]:
    """Drawn limbs of all regions, intact and broken, for the bank: the product must know its own phantoms.

    They stand in no figure. The seeds are far from those of the demo and the tests.
    """
    for number in range(count):
        region = REGIONS[number % len(REGIONS)]
        view = VIEWS[number // len(REGIONS) % len(VIEWS)]
        spec = PhantomSpec(region, view, fractured=number % 2 == 1, seed=seed + number, height_px=560, width_px=448)
        yield "limb phantom", np.asarray(render(spec).pixels >> 4, np.uint8)


def foreign_pictures(folders: Sequence[Path], seed: int = 0) -> list[Picture]:
    """Everything at hand that is no limb radiograph, in an order that parts every kind alike between odd and even."""
    pictures = drawn_pictures(seed) + photographs(seed)
    for folder in folders:
        pictures += dicom_pictures(folder)
    return sorted(pictures, key=lambda picture: (picture.kind, picture.name))


def exposure_readings(engine: Engine, card: ModelCard, of_each: int, limbs: Iterable[Grey]) -> Exposure | None:
    """Features of drawn foreign pictures and of limb radiographs turned to dark bones; ``None`` for none at all."""
    found = picture_readings(engine, card, chain(exposure_pictures(of_each), inverted(limbs)))
    return Exposure(found.features, found.kinds) if found.kinds else None


def variant_shares(
    engine: Engine, card: ModelCard, images: Sequence[Grey], rule: tuple[ScopeModel, Limits]
) -> dict[str, str]:
    """``{"limb, mirrored": "97 of 100"}``: how many changed limb radiographs the rule lets through."""
    model, limits = rule
    shares: dict[str, Any] = {}
    for name, change in VARIANTS.items():
        found = picture_readings(engine, card, ((name, change(image)) for image in images))
        passed = (model.score(found.features) >= np.float32(limits.threshold)) & (
            found.confidence >= limits.min_region_probability
        )
        shares[name] = f"{int(passed.sum())} of {len(images)}"
    return shares
