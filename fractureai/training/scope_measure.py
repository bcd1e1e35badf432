"""Features and confidence of samples, of their variations and of foreign pictures, for the scope rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fractureai.domain.ports import RegionModel
from fractureai.errors import RejectedInput
from fractureai.imaging.grayscale import fill_scale
from fractureai.phantoms.render import REGIONS, VIEWS, PhantomSpec, render
from fractureai.training.exposure import exposure_pictures
from fractureai.training.out_of_scope import Picture, dicom_pictures, drawn_pictures, photographs
from fractureai.training.scope_fit import Exposure, Readings
from fractureai.training.variations import VARIATIONS

Grey = npt.NDArray[np.uint8]


def picture_readings(model: RegionModel, pictures: Iterable[tuple[str, Grey]]) -> Readings:
    """Read pictures given as ``(kind, pixels)``, one at a time, so that memory stays small."""
    kinds, features, confidence = [], [], []
    for kind, pixels in pictures:
        found = model.read(np.ascontiguousarray(pixels))
        kinds.append(kind)
        features.append(found.features)
        confidence.append(model.interpret(found).probability)
    return Readings(np.array(features, np.float32), np.array(confidence, np.float64), tuple(kinds))


def varied(pictures: Iterable[tuple[str, Grey]], seed: int = 0) -> Iterator[tuple[str, Grey]]:
    """Each picture in one of the variations that reading must not depend on, in turn; refused ones are left out."""
    nowhere = np.zeros((0, 4), np.float32)
    names = list(VARIATIONS)
    for number, (_, pixels) in enumerate(pictures, start=seed):
        name = names[number % len(names)]
        try:
            yield name, fill_scale(VARIATIONS[name](pixels, nowhere)[0])
        except RejectedInput:
            continue


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


def exposure_readings(model: RegionModel, of_each: int) -> Exposure | None:
    """Features of drawn foreign pictures; ``None`` for none at all."""
    found = picture_readings(model, exposure_pictures(of_each))
    return Exposure(found.features, found.kinds) if found.kinds else None
