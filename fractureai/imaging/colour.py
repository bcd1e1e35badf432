"""Greyscale pictures stored as colour, told from pictures in colour."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput

# JPEG's chroma noise reaches some 20 levels at edges; a small coloured marker or cursor is no reason to refuse.
_TOLERANCE_LEVELS = 32
_MAX_COLOURED_FRACTION = 0.01
_SAMPLE_PIXELS = 250_000


def grey_of_colour(pixels: npt.NDArray[np.uint8], *, luma_first: bool) -> npt.NDArray[np.uint8]:
    """Reduce three nearly equal channels to one.

    Parameters
    ----------
    pixels:
        ``(H, W, 3)`` uint8, RGB, or luma and two chroma channels centred on 128 (``luma_first``).

    Returns
    -------
    ``(H, W)`` uint8: luma as stored, or the rounded Rec. 601 luma of RGB, which leaves equal channels as they are.

    Raises
    ------
    RejectedInput
        ``colour_image`` if more than one pixel in a hundred is coloured.
    """
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / _SAMPLE_PIXELS) ** 0.5))
    seen: npt.NDArray[Any] = pixels[::step, ::step].astype(np.int16)
    # The spread of the channels in RGB is up to 1.77 times the excursion of the chroma.
    chroma = 1.77 * np.abs(seen[..., 1:] - 128).max(axis=-1) if luma_first else np.ptp(seen, axis=-1)
    if np.mean(chroma > _TOLERANCE_LEVELS) > _MAX_COLOURED_FRACTION:
        raise RejectedInput("colour_image")
    if luma_first:
        return np.ascontiguousarray(pixels[..., 0])
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
