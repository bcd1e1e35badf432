"""From stored values to the image the stages work on: uint8, bones bright, of bounded size."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput

Grey = npt.NDArray[np.uint8]
Values = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# A picture whose values, all but two in a thousand, span fewer levels than this shows nothing.
BLANK_LEVELS = 4
_BLANK_PERCENTILES = (0.1, 99.9)
_WINDOW_PERCENTILES = (0.5, 99.5)
_SAMPLE_PIXELS = 60_000


def sample(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Every n-th row and column, about 60,000 pixels, flat: enough for percentiles, the same at every run."""
    step = round((pixels.size / _SAMPLE_PIXELS) ** 0.5) | 1  # Odd: grids and patterns mostly repeat by even numbers.
    return pixels[::step, ::step].ravel()


def is_blank(values: npt.NDArray[np.generic]) -> bool:
    """Whether values in whole levels are nearly all the same."""
    if values.size == 0:
        return True
    low, high = np.percentile(values, _BLANK_PERCENTILES)
    return bool(high - low < BLANK_LEVELS)


def percentile_window(values: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Lower and upper value of a window that a few hot or dead pixels, markers or borders cannot shift.

    ``values``: any shape, at least one. The upper is always above the lower.
    """
    low, high = (float(value) for value in np.percentile(values, _WINDOW_PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def spread(values: npt.NDArray[np.floating], low: float, high: float) -> npt.NDArray[np.float32]:
    """Map ``low..high`` to 0..1, clipped; any shape, float32."""
    return np.clip((values.astype(np.float32) - low) / (high - low), 0.0, 1.0).astype(np.float32)


def to_levels(shown: npt.NDArray[np.floating]) -> Grey:
    """0..1 to 0..255, rounded."""
    levels: Grey = np.rint(np.asarray(shown, np.float32) * 255.0).astype(np.uint8)
    return levels


def apply_table(pixels: Values, table: Grey) -> Grey:
    """Map each of 256 or 65,536 codes to its level; ``pixels``: ``(H, W)``, ``table``: one level per code.

    OpenCV does 2 megapixels in 0.7 ms, NumPy's ``take`` in 4 ms.
    """
    return cv2.LUT(np.ascontiguousarray(pixels), table)  # type: ignore[return-value]


def shrink(pixels: Values, long_side_px: int) -> Values:
    """Shrink by area averaging so that the long side is at most ``long_side_px``; never enlarge.

    ``pixels``: ``(H, W)`` uint8 or uint16; the dtype is kept. Averaging dims a thin lucent line but keeps it.
    """
    height, width = pixels.shape
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    extent = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, extent, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def grey_from_8_bit(pixels: Grey, long_side_px: int) -> Grey:
    """Keep the levels of an 8-bit picture as its maker set them; only its size may change.

    Raises
    ------
    RejectedInput
        ``blank_image``.
    """
    _refuse_blank(pixels)
    return shrink(pixels, long_side_px)  # type: ignore[return-value]


def grey_from_16_bit(pixels: npt.NDArray[np.uint16], long_side_px: int) -> Grey:
    """Bring ``(H, W)`` uint16 without any window of its own to 8 bits by its percentiles.

    Raises
    ------
    RejectedInput
        ``blank_image``.
    """
    _refuse_blank(pixels)
    low, high = percentile_window(sample(pixels))
    table = to_levels(spread(np.arange(65536, dtype=np.float32), low, high))
    return shrink(apply_table(pixels, table), long_side_px)  # type: ignore[return-value]


def grey_from_float(pixels: npt.NDArray[np.floating] | npt.NDArray[np.signedinteger], long_side_px: int) -> Grey:
    """Bring ``(H, W)`` values of any scale to 8 bits, by way of 16.

    Raises
    ------
    RejectedInput
        ``blank_image``, also for values that are not finite throughout.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise RejectedInput("blank_image")
    values = pixels.astype(np.float32)
    values -= np.float32(low)
    values *= np.float32(65535.0 / (high - low))
    np.clip(np.rint(values, out=values), 0, 65535, out=values)
    return grey_from_16_bit(values.astype(np.uint16), long_side_px)


def _refuse_blank(pixels: Values) -> None:
    if is_blank(sample(pixels)):
        raise RejectedInput("blank_image")
