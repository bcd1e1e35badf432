"""Labelled pictures in memory: what the training draws from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.domain.limb import Rectangle, find_limb, texture
from fractureai.phantoms.render import REGIONS as PHANTOM_REGIONS
from fractureai.phantoms.render import VIEWS, PhantomSpec, render
from fractureai.training.datasets.pixels import read_grey
from fractureai.training.datasets.values import Dataset
from fractureai.training.exposure import exposure_pictures

LONG_SIDE_PX = 512
NO_REGION = -1
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
        Index into the regions of the run; ``NO_REGION`` for what is no limb radiograph.
    boxes:
        ``(n, 4)`` float32, ``x0 y0 x1 y1`` px of ``pixels``, origin at the outer top-left corner; empty if no
        fracture is marked, which in a fractured picture means that its place is not known.
    limb, texture:
        Where the anatomy is (:mod:`fractureai.domain.limb`); found once, as every batch asks for it.
    """

    pixels: npt.NDArray[np.uint8]
    region: int
    fractured: bool
    boxes: npt.NDArray[np.float32]
    limb: Rectangle
    texture: npt.NDArray[np.uint8]


def load_pictures(dataset: Dataset, regions: Sequence[str]) -> list[Picture]:
    """Read every sample of the given regions, reduced to a long side of 512 px where it is larger."""
    return [
        picture(
            read_grey(sample.image_path),
            regions.index(sample.region),
            fractured=sample.fractured,
            boxes=np.array(sample.boxes, np.float32).reshape(-1, 4),
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
        pictures.append(picture(grey, regions.index(spec.region), fractured=spec.fractured, boxes=boxes))
    return pictures


def picture(
    pixels: npt.NDArray[np.uint8], region: int, *, fractured: bool = False, boxes: npt.NDArray[np.float32] | None = None
) -> Picture:
    """A picture of grey values ``(H, W)`` with its labels, reduced to a long side of 512 px where it is larger."""
    boxes = np.zeros((0, 4), np.float32) if boxes is None else boxes
    scale = LONG_SIDE_PX / max(pixels.shape)
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        boxes = boxes * np.float32(scale)
    return Picture(pixels, region, fractured, boxes, find_limb(pixels), texture(pixels))


def strangers(of_each: int, seed: int = 0) -> list[Picture]:
    """Drawn pictures of no region, of each kind as many.

    The region head learns to be unsure of them (outlier exposure, Hendrycks 2019).
    """
    return [picture(pixels, NO_REGION) for _, pixels in exposure_pictures(of_each, seed)]


def kept_phantoms(path: Path, regions: Sequence[str], count: int, seed: int = 0) -> list[Picture]:
    """:func:`phantom_pictures` of these arguments, drawn once and kept in ``path``: a resumed run need not wait."""
    told = "/".join((*regions, str(count), str(seed)))
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["told"]) == told:
                return _unpacked(kept)
    pictures = phantom_pictures(regions, count, seed)
    scratch = path.with_name(path.name + ".part")
    with scratch.open("wb") as file:
        np.savez(file, told=np.array(told), **_packed(pictures))
    scratch.replace(path)
    return pictures


def _packed(pictures: Sequence[Picture]) -> dict[str, npt.NDArray[Any]]:
    """Flat arrays: sizes and number of boxes say where a picture's pixels and boxes begin."""
    return {
        "pixels": np.concatenate([np.zeros(0, np.uint8), *(picture.pixels.ravel() for picture in pictures)]),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(picture.boxes for picture in pictures)]),
        "facts": np.array(
            [(*picture.pixels.shape, len(picture.boxes), picture.region, picture.fractured) for picture in pictures],
            np.int64,
        ).reshape(-1, 5),
    }


def _unpacked(kept: Mapping[str, npt.NDArray[Any]]) -> list[Picture]:
    pixels, boxes = kept["pixels"], kept["boxes"]
    pictures, pixel, box = [], 0, 0
    for height, width, marked, region, fractured in kept["facts"].tolist():
        own = pixels[pixel : pixel + height * width].reshape(height, width)
        pictures.append(picture(own, region, fractured=bool(fractured), boxes=boxes[box : box + marked]))
        pixel, box = pixel + height * width, box + marked
    return pictures
