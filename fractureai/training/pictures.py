"""Labelled pictures in memory: what the training draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.phantoms.render import REGIONS as PHANTOM_REGIONS
from fractureai.phantoms.render import VIEWS, PhantomSpec, render
from fractureai.training.datasets.pixels import read_grey
from fractureai.training.datasets.values import Dataset

LONG_SIDE_PX = 512
_PHANTOM_LONG_PX = (640, 900)
# Seeds the commissioning self-test and the demo do not use.
_FIRST_PHANTOM_SEED = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One radiograph with its labels.

    Attributes
    ----------
    pixels:
        ``(H, W)`` uint8, long side at most 512 px, bones bright.
    region:
        Index into the regions of the run.
    boxes:
        ``(n, 4)`` float32, ``x0 y0 x1 y1`` px of ``pixels``, origin at the outer top-left corner; empty if no
        fracture is marked, which in a fractured picture means that its place is not known.
    """

    pixels: npt.NDArray[np.uint8]
    region: int
    fractured: bool
    boxes: npt.NDArray[np.float32]


def load_pictures(dataset: Dataset, regions: Sequence[str]) -> list[Picture]:
    """Read every sample of the given regions, reduced to a long side of 512 px where it is larger."""
    return [
        _reduced(
            read_grey(sample.image_path),
            regions.index(sample.region),
            sample.fractured,
            np.array(sample.boxes, np.float32).reshape(-1, 4),
        )
        for sample in dataset.samples
        if sample.region in regions
    ]


def phantom_pictures(regions: Sequence[str], count: int, seed: int = 0) -> list[Picture]:
    """Draw phantoms of the given regions in all views, about half of them fractured.

    Regions without a phantom are passed over. Phantoms train and are counted in no metric.
    """
    drawn = [name for name in PHANTOM_REGIONS if name in regions]
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count if drawn else 0):
        height = int(rng.integers(*_PHANTOM_LONG_PX))
        spec = PhantomSpec(
            region=drawn[number % len(drawn)],
            view=VIEWS[number // len(drawn) % len(VIEWS)],
            fractured=bool(rng.random() < 0.5),
            seed=_FIRST_PHANTOM_SEED + number,
            height_px=height,
            width_px=int(height * rng.uniform(0.62, 1.0)),
        )
        phantom = render(spec)
        grey = np.asarray(phantom.pixels.astype(np.float32) / 4095 * 255 + 0.5, np.uint8)
        boxes = np.array([phantom.fracture_box_px] if phantom.fracture_box_px else [], np.float32).reshape(-1, 4)
        pictures.append(_reduced(grey, regions.index(spec.region), spec.fractured, boxes))
    return pictures


def _reduced(pixels: npt.NDArray[np.uint8], region: int, fractured: bool, boxes: npt.NDArray[np.float32]) -> Picture:
    scale = LONG_SIDE_PX / max(pixels.shape)
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        boxes = boxes * np.float32(scale)
    return Picture(pixels, region, fractured, boxes)
