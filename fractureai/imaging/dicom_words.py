"""Words of pixel data, and the stored value that each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput
from fractureai.imaging import grayscale
from fractureai.imaging.grayscale import Reals, Values

_SAMPLE_ROWS = 64
_ROUGHER = 1.02
_NOISE, _SMOOTH = 0.5, 0.25


@dataclass(frozen=True, slots=True, eq=False)
class StoredPixels:
    """Pixels as codes, and what each code means.

    Attributes
    ----------
    codes:
        ``(H, W)`` uint8 or uint16, contiguous: the bits as they are in the file.
    values:
        ``(256,)`` or ``(65536,)`` float32: the stored value of each code, unused bits masked, sign extended.
    """

    codes: Values
    values: Reals

    @classmethod
    def from_words(cls, words: npt.NDArray[Any], *, bits_stored: int, high_bit: int, signed: bool) -> StoredPixels:
        """From words whose unused bits may hold anything (PS3.5 section 8.1.1).

        Raises
        ------
        RejectedInput
            ``damaged`` if the bits do not fit; ``header_mismatch`` if the pixels hold more than are said to be stored.
        """
        codes = words.astype(words.dtype.newbyteorder("="), copy=False).view(f"u{words.itemsize}")
        below = high_bit + 1 - bits_stored
        if not (bits_stored >= 1 and below >= 0 and high_bit < 8 * words.itemsize):
            raise RejectedInput("damaged", "bits stored do not fit the bits allocated")
        every = np.arange(1 << (8 * words.itemsize), dtype=codes.dtype)
        whole = (every.view(f"i{words.itemsize}") if signed else every).astype(np.int32) >> below
        values = whole & ((1 << bits_stored) - 1)
        if signed:
            values = np.where(values >= 1 << (bits_stored - 1), values - (1 << bits_stored), values)
        _refuse_wrapped(codes, whole, values, bits_stored)
        return cls(codes, values.astype(np.float32))


def _refuse_wrapped(codes: Values, whole: npt.NDArray[Any], values: npt.NDArray[Any], bits_stored: int) -> None:
    """Refuse a header that says fewer bits than the picture has: masked, it wraps around from white to black.

    Bits that are set beyond those stored are mostly overlays or leftovers; then the masked picture is the smoother one.
    """
    seen = grayscale.grid(codes)
    if np.array_equal(whole[seen], values[seen]):
        return
    rows = codes[:: max(1, codes.shape[0] // _SAMPLE_ROWS)]
    masked, unmasked = values[rows], whole[rows]
    steps, smoother_steps = (float(np.abs(np.diff(each, axis=1)).mean()) for each in (masked, unmasked))
    is_wrapped = steps > _ROUGHER * smoother_steps
    # Wrapped many times over it is noise, whose steps are about as large as its deviation.
    is_noise = steps > _NOISE * masked.std() and smoother_steps < _SMOOTH * unmasked.std()
    if is_wrapped or is_noise:
        raise RejectedInput("header_mismatch", f"{bits_stored} bits stored, but more in the pixels")
