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
Values = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def grey_of_colour(pixels: Values, *, luma_first: bool, bits: int = 0) -> Values:
    """Reduce three nearly equal channels to one.

    Parameters
    ----------
    pixels:
        ``(H, W, 3)`` uint8 or uint16, RGB, or luma and two chroma channels centred on half the scale (``luma_first``).
    bits:
        Of the scale; 0: all of its type's.

    Returns
    -------
    ``(H, W)`` of the same type: luma as stored, or the rounded Rec. 601 luma of RGB, which leaves equal channels
    as they are.

    Raises
    ------
    RejectedInput
        ``colour_image`` if more than one pixel in a hundred is coloured.
    """
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / _SAMPLE_PIXELS) ** 0.5))
    seen: npt.NDArray[Any] = pixels[::step, ::step].astype(np.int32)
    # The spread of the channels in RGB is up to 1.77 times the excursion of the chroma.
    centre = 1 << ((bits or 8 * pixels.itemsize) - 1)
    chroma = 1.77 * np.abs(seen[..., 1:] - centre).max(axis=-1) if luma_first else np.ptp(seen, axis=-1)
    # Deeper samples rarely use all of their scale; that of JPEG, whose noise the tolerance is for, is known.
    scale = 255 if pixels.dtype == np.uint8 else max(1, int(seen.max()))
    if np.mean(chroma > _TOLERANCE_LEVELS / 255 * scale) > _MAX_COLOURED_FRACTION:
        raise RejectedInput("colour_image")
    if luma_first:
        return np.ascontiguousarray(pixels[..., 0])
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
