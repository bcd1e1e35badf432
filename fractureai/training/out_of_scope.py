"""Pictures that are no limb radiograph, to hold the scope rule to account.

Drawn here, by the phantoms, or found on the machine (photographs that come with scikit-learn, DICOM test files); none
is part of the product.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.phantoms.chest import render_chest

Grey = npt.NDArray[np.uint8]

_log = logging.getLogger(__name__)
_SIDE_PX = 384
_MODALITIES = frozenset({"CT", "MR", "US", "NM", "PT", "RF", "XA", "SC", "OT", "ES", "SM", "OP"})
# Radiographs among the test files: a chest, which must be refused; the others show limbs.
_CHESTS = frozenset({"RG1_J2KI.dcm", "RG1_J2KR.dcm", "RG1_UNCI.dcm", "RG1_UNCR.dcm"})


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture. ``kind`` names the group it is counted in; ``pixels`` is ``(H, W)`` uint8."""

    kind: str
    name: str
    pixels: Grey = field(repr=False)


def drawn_pictures(seed: int = 0, of_each: int = 20) -> list[Picture]:
    """Noise, plain grey, gradients, drawings, text and chest phantoms; the same for the same seed."""
    rng = np.random.default_rng(seed)
    pictures = [
        Picture(kind, f"{kind}-{number}", draw(rng)) for kind, draw in _DRAWERS.items() for number in range(of_each)
    ]
    plain = [Picture("plain", f"plain-{grey}", np.full((_SIDE_PX, _SIDE_PX), grey, np.uint8)) for grey in (0, 128, 255)]
    chests = [Picture("chest", f"chest-{number}", chest_phantom(seed + number)) for number in range(of_each // 2)]
    return pictures + plain + chests


def chest_phantom(seed: int) -> Grey:
    """A drawn chest, 8 bit."""
    drawn = render_chest(seed, _SIDE_PX, _SIDE_PX)
    return np.asarray(drawn >> 4, np.uint8)


def photographs(seed: int = 0, of_each: int = 20) -> list[Picture]:
    """Random crops of the photographs that come with scikit-learn, in grey."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    bunch = load_sample_images()
    pictures = []
    for name, colour in zip(bunch.filenames, bunch.images, strict=True):
        grey = cv2.cvtColor(np.asarray(colour, np.uint8), cv2.COLOR_RGB2GRAY)
        for number in range(of_each):
            side = int(rng.integers(160, min(grey.shape)))
            top, left = (int(rng.integers(0, extent - side + 1)) for extent in grey.shape)
            crop = np.ascontiguousarray(grey[top : top + side, left : left + side])
            pictures.append(Picture("photograph", f"{Path(name).stem}-{number}", crop))
    return pictures


def dicom_pictures(folder: Path) -> Iterator[Picture]:
    """CT, MR, ultrasound and other DICOM files of a folder, first frame, stretched to their own range."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    for path in sorted(folder.glob("*.dcm")):
        try:
            dataset = pydicom.dcmread(path)
            modality = str(dataset.get("Modality", "")).upper()
            kind = "chest" if path.name in _CHESTS else modality
            if kind != "chest" and modality not in _MODALITIES:
                continue
            pixels = np.asarray(dataset.pixel_array, np.float32)
        except (InvalidDicomError, AttributeError, ValueError, RuntimeError, NotImplementedError, OSError) as error:
            _log.info("left out %s: %s", path.name, error)
            continue
        grey = _first_frame(pixels, samples=int(dataset.get("SamplesPerPixel", 1)))
        if min(grey.shape) < 16:
            continue
        inverted = str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1"
        yield Picture(kind, path.name, 255 - grey if inverted else grey)


def _first_frame(pixels: npt.NDArray[np.float32], samples: int) -> Grey:
    if samples > 1:
        pixels = pixels.mean(axis=-1)
    while pixels.ndim > 2:
        pixels = pixels[0]
    low, high = float(pixels.min()), float(pixels.max())
    return np.asarray((pixels - low) * (255.0 / max(high - low, 1e-6)), np.uint8)


def _noise(rng: np.random.Generator) -> Grey:
    """Noise of any grain, from white to clouds."""
    side = int(2 ** rng.uniform(2, 8.6))
    return cv2.resize(rng.integers(0, 256, (side, side), np.uint8), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC)


def _gradient(rng: np.random.Generator) -> Grey:
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX] / _SIDE_PX
    if rng.random() < 0.5:
        turn = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(turn) * rows + np.sin(turn) * columns
    else:
        ramp = np.hypot(rows - rng.random(), columns - rng.random())
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    return np.asarray(255 * ramp ** rng.uniform(0.4, 2.5), np.uint8)


def _drawing(rng: np.random.Generator) -> Grey:
    """Lines, circles and boxes, black on white or white on black."""
    picture = np.zeros((_SIDE_PX, _SIDE_PX), np.uint8)
    for _ in range(int(rng.integers(3, 25))):
        first, second = (tuple(int(value) for value in rng.integers(0, _SIDE_PX, 2)) for _ in range(2))
        grey, thickness = int(rng.integers(90, 256)), int(rng.integers(1, 9))
        shape = rng.integers(3)
        if shape == 0:
            cv2.line(picture, first, second, grey, thickness, cv2.LINE_AA)
        elif shape == 1:
            cv2.circle(picture, first, int(rng.integers(5, 150)), grey, thickness, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, first, second, grey, thickness)
    return 255 - picture if rng.random() < 0.5 else picture


def _text(rng: np.random.Generator) -> Grey:
    """A page of lines of letters."""
    page = np.full((int(_SIDE_PX * 1.4), _SIDE_PX), 255, np.uint8)
    size = float(rng.uniform(0.3, 0.8))
    for baseline in range(20, page.shape[0], int(36 * size) + 4):
        letters = "".join(chr(code) for code in rng.integers(97, 123, 60))
        line = "".join(" " if rng.random() < 0.17 else letter for letter in letters)
        cv2.putText(page, line, (12, baseline), cv2.FONT_HERSHEY_SIMPLEX, size, 20, 1, cv2.LINE_AA)
    return 255 - page if rng.random() < 0.2 else page


def _board(rng: np.random.Generator) -> Grey:
    side = int(rng.integers(6, 70))
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX] // side
    dark, bright = sorted(int(value) for value in rng.integers(0, 256, 2))
    return np.where((rows + columns) % 2 == 0, dark, bright).astype(np.uint8)


_DRAWERS: dict[str, Callable[[np.random.Generator], Grey]] = {
    "noise": _noise,
    "gradient": _gradient,
    "drawing": _drawing,
    "text": _text,
    "checkerboard": _board,
}
