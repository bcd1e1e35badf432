"""Small pictures for tests, drawn on the spot."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def bone(height_px: int = 120, width_px: int = 90, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A bright bar on a dim ground, with noise: enough to be decoded, drawn on and told apart by its seed."""
    noise = np.random.default_rng(seed).integers(0, 20, (height_px, width_px))
    picture = np.full((height_px, width_px), 40) + noise
    picture[:, width_px // 3 : width_px // 2] += 150
    return picture.astype(np.uint8)


def png(height_px: int = 120, width_px: int = 90, *, seed: int = 0) -> bytes:
    """:func:`bone` as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(bone(height_px, width_px, seed=seed)).save(stream, "PNG")
    return stream.getvalue()
