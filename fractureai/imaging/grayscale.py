"""The one place that decides the grey levels of the picture that models, pages and reports see.

Whatever the file format, a reader hands over the stored codes and what each code shows, 0 (black) to 1 (white), bones
bright. Here the picture's used range is measured, a scale that is mostly empty is filled, and the result is written
as 8 bits. Training calls :func:`fill_scale` on its own pictures, so that both see the same levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput

Grey = npt.NDArray[np.uint8]
Values = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Reals = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# A picture whose values, all but two in a thousand, span fewer levels than this shows nothing.
BLANK_LEVELS = 4
_BLANK_PERCENTILES = (0.1, 99.9)
_SAMPLE_PIXELS = 60_000

_FILLED = 0.6
"""From this share of the scale on, used by the anatomy, a picture keeps its levels."""
_EMPTY = 0.5
"""Up to this share it is spread in full, so that half and a quarter of a scale come out alike; between, in part."""
_TARGET = 0.8
"""Share of the scale that a spread picture uses: the median of radiographs that fill theirs (FracAtlas)."""
_BLACKEST = 0.08
"""Where the darkest anatomy of a spread picture is put at most."""
_FEWEST_LEVELS = 28
"""Stored levels that the anatomy must span to be spread; fewer would show steps in place of bone."""
_LEAST_CONTRAST = 0.35
"""Share of the used range that must be left once noise is averaged away; of noise alone, a quarter is."""

_USED_PERCENTILES = (0.2, 99.8)
_CONTRAST_PERCENTILES = (1.0, 99.0)
_SMOOTH_PX, _CONTRAST_PX = 3, 9

_BINS = 256
_GAP_BINS = 64
"""A quarter of the scale without a pixel sets a frame, a collimator or a burned-in mark apart from the anatomy."""
_GAP_SHARE = 0.003
_FRAME_BINS, _MOST_FRAME = 5, 0.9
_MOST_MARKS = 0.01


@dataclass(frozen=True, slots=True)
class Filling:
    """How a picture's levels become those shown: ``level * gain + offset``, 0 to 1, clipped."""

    gain: float = 1.0
    offset: float = 0.0

    def of(self, shown: npt.NDArray[np.floating]) -> Reals:
        """Apply it to levels of any shape."""
        return np.clip(shown * np.float32(self.gain) + np.float32(self.offset), 0.0, 1.0).astype(np.float32)


def fill_scale(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.floating]) -> Grey:
    """Spread a picture that leaves most of its grey scale empty; leave any other as it is.

    Pure, and the same at every run. A picture at full, half and quarter scale gives nearly the same result.

    Parameters
    ----------
    pixels:
        ``(H, W)``, bones bright: uint8 or uint16 on the whole scale of its type, or floats from 0 (black) to 1
        (white). NaN marks what is not part of the exposure, such as padding; it comes out as 0.

    Returns
    -------
    ``(H, W)`` uint8. Identical to an 8-bit input whose anatomy uses 0.6 of the scale or more.

    Raises
    ------
    RejectedInput
        ``under_exposed`` if too few levels are used to be spread; ``blank_image`` if there is nothing at all.
    """
    if pixels.ndim != 2:
        raise ValueError(f"expected a (H, W) picture, got {pixels.shape}")
    if pixels.dtype == np.uint8 or pixels.dtype == np.uint16:
        codes: Values = pixels
        if is_blank(grid(codes)):
            raise RejectedInput("blank_image")
        return picture(codes, every_level(codes.dtype))
    values = pixels.astype(np.float32)
    return to_levels(np.nan_to_num(filling(grid(values)).of(values)))


def picture(codes: Values, shown: Reals, *, unexposed: Mask | None = None, area: Grey | None = None) -> Grey:
    """Make the picture of an image, on the grid of its codes.

    Parameters
    ----------
    codes:
        ``(H, W)`` uint8 or uint16.
    shown:
        ``(256,)`` or ``(65536,)``: the level of each code, 0 to 1, bones bright.
    unexposed:
        Same shape as ``shown``: codes that are padding.
    area:
        ``(H, W)``, 0 where a shutter or collimator hides the pixels and 1 elsewhere.

    Returns
    -------
    ``(h, w)`` uint8; padding and hidden pixels are 0.

    Raises
    ------
    RejectedInput
        ``under_exposed`` or ``blank_image``; see :func:`fill_scale`.
    """
    table = shown if unexposed is None else np.where(unexposed, np.float32(np.nan), shown)
    seen = table[grid(codes)]
    if area is not None:
        seen = np.where(grid(area) > 0, seen, np.float32(np.nan))
    levels = filling(seen).of(shown)
    if unexposed is not None:
        levels = np.where(unexposed, np.float32(0), levels)
    grey = apply_table(codes, to_levels(levels))
    if area is not None:
        grey = cv2.multiply(grey, area)  # type: ignore[assignment]
    return grey


def filling(seen: Reals) -> Filling:
    """Decide how to fill the scale.

    Parameters
    ----------
    seen:
        ``(h, w)`` levels 0 to 1 of a thinned picture (:func:`grid`), NaN where it is not part of the exposure.

    Raises
    ------
    RejectedInput
        ``blank_image`` or ``under_exposed``.
    """
    exposed = np.isfinite(seen)
    if not exposed.any():
        raise RejectedInput("blank_image")
    bins = np.clip(np.nan_to_num(seen) * _BINS, 0, _BINS - 1).astype(np.intp)
    counts = np.bincount(bins[exposed], minlength=_BINS)
    low_bin, high_bin = _stray(counts), _BINS - _stray(counts[::-1])
    anatomy = exposed & (bins >= low_bin) & (bins < high_bin)
    if not anatomy.any():
        raise RejectedInput("under_exposed", "black and white only")
    low, high = _percentiles(seen, anatomy, _SMOOTH_PX, _USED_PERCENTILES)
    used = high - low
    if used >= _FILLED:
        if np.count_nonzero(counts) <= 2:
            raise RejectedInput("under_exposed", "black and white only")
        return Filling()
    _refuse_under_exposed(seen, anatomy, low, high)
    # Black stays black as far as it goes; between full spreading and none the two are mixed.
    gain = _TARGET / used
    offset = min(low * gain, _BLACKEST) - low * gain
    share = min(1.0, (_FILLED - used) / (_FILLED - _EMPTY))
    return Filling(1.0 + share * (gain - 1.0), share * offset)


def _stray(counts: npt.NDArray[np.integer]) -> int:
    """Bins at the low end of a histogram that an empty quarter of the scale divides from the rest; 0 if none.

    What is set apart is either of one level and as large as may be (a frame, a collimator) or small (burned-in marks).
    """
    shares = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    first = int(np.flatnonzero(counts)[0])
    found = 0
    for end in range(first + 1, _BINS - _GAP_BINS):
        apart = float(shares[end])
        if apart > _MOST_FRAME or (end - first > _FRAME_BINS and apart > _MOST_MARKS):
            break
        if shares[end + _GAP_BINS] - apart < _GAP_SHARE * (1.0 - apart):
            found = end + _GAP_BINS
    return found


def _percentiles(seen: Reals, where: Mask, smooth_px: int, ranks: tuple[float, float]) -> tuple[float, float]:
    """Percentiles of the levels, smoothed over the pixels of ``where`` alone, less so along a short side."""
    rows, columns = (min(smooth_px, side // 16 | 1) for side in seen.shape)
    weight = cv2.blur(where.astype(np.float32), (columns, rows))
    mean = cv2.blur(np.where(where, seen, np.float32(0)), (columns, rows))
    low, high = np.percentile(mean[where] / weight[where], ranks)
    return float(low), float(high)


def _refuse_under_exposed(seen: Reals, anatomy: Mask, low: float, high: float) -> None:
    values = seen[anatomy & (seen >= low) & (seen <= high)]
    levels = int(np.unique(values).size)
    if levels < _FEWEST_LEVELS:
        raise RejectedInput("under_exposed", f"{levels} grey levels")
    dark, bright = _percentiles(seen, anatomy, _CONTRAST_PX, _CONTRAST_PERCENTILES)
    if bright - dark < _LEAST_CONTRAST * (high - low):
        raise RejectedInput("under_exposed", "noise only")


def grid(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Every n-th row and column, about 60,000 pixels: enough for percentiles, the same at every run."""
    step = round((pixels.size / _SAMPLE_PIXELS) ** 0.5) | 1  # Odd: grids and patterns mostly repeat by even numbers.
    return pixels[::step, ::step]


def is_blank(values: npt.NDArray[np.generic]) -> bool:
    """Whether values in whole levels are nearly all the same."""
    if values.size == 0:
        return True
    low, high = np.percentile(values, _BLANK_PERCENTILES)
    return bool(high - low < BLANK_LEVELS)


def every_level(dtype: npt.DTypeLike, bits: int = 0) -> Reals:
    """What each code of an unsigned type shows, 0 to 1, if its scale has so many bits; 0: all of its type's."""
    count = 1 << (8 * np.dtype(dtype).itemsize)
    full = (1 << bits if bits else count) - 1
    return np.minimum(np.arange(count, dtype=np.float32) / np.float32(full), np.float32(1.0))


def spread(values: npt.NDArray[np.floating], low: float, high: float) -> Reals:
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
