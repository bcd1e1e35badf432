"""Every combination of polarity, depth, sign, alignment, window and padding, against levels worked out in fractions.

The formulas here are those of PS3.3 section C.11.2.1.2 written down once more, a pixel at a time and exactly; the
product works them out in tables.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import exp

import numpy as np
import pytest

from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits

LIMITS = DecodeLimits()
STRIPE = 8

POLARITIES = ("MONOCHROME2", "MONOCHROME1")
# Bits allocated, stored; left aligned where the high bit is not the last stored.
DEPTHS = ((8, 8, 7), (16, 8, 7), (16, 10, 9), (16, 12, 11), (16, 14, 13), (16, 15, 14), (16, 16, 15), (16, 12, 15))
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# How far above the lowest value each attribute lies.
PADDINGS = {
    "none": {},
    "value": {"PixelPaddingValue": 0},
    "range": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1},
}


def level(value: int, center: Fraction, width: Fraction, function: str) -> Fraction | float:
    """0..1 of one pixel."""
    if function == "SIGMOID":
        return 1 / (1 + exp(-4 * (value - center) / width))
    if function == "LINEAR":
        center, width = center - Fraction(1, 2), width - 1
    return min(max((value - center) / width + Fraction(1, 2), Fraction(0)), Fraction(1))


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("depth", DEPTHS, ids=str)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_levels(dicom: Callable[..., bytes], polarity: str, depth: tuple[int, int, int], signed: bool) -> None:
    allocated, stored, high_bit = depth
    low, span = (-(1 << (stored - 1)) if signed else 0), 1 << stored
    values = [low, low + 1, low + span // 4, low + span // 2, low + 3 * span // 4, low + span - 1]
    center, width = Fraction(low + span // 2), Fraction(span // 2)
    # Beside the stripes a ramp, so that the picture fills its scale and keeps its levels.
    ramp = np.linspace(low, low + span - 1, 96).astype(int).tolist()
    codes = np.array([(value % span) << (high_bit + 1 - stored) for value in values + ramp], f"u{allocated // 8}")
    pixels = np.tile(np.repeat(codes, STRIPE), (40, 1)).view(f"{'i' if signed else 'u'}{allocated // 8}")
    header = {"BitsStored": stored, "HighBit": high_bit, "PhotometricInterpretation": polarity}
    header |= {"WindowCenter": str(float(center)), "WindowWidth": str(float(width))}
    for function, (name, padding) in product(FUNCTIONS, PADDINGS.items()):
        given = {keyword: low + more for keyword, more in padding.items()}
        padded = range(low, max(given.values()) + 1) if given else ()
        grey = read_dicom(dicom(pixels, VOILUTFunction=function, **header, **given), LIMITS).pixels
        for place, value in enumerate(values):
            shown = float(level(value, center, width, function))
            expected = 0 if value in padded else 255 * (1 - shown if polarity == "MONOCHROME1" else shown)
            seen = float(grey[20, place * STRIPE + STRIPE // 2])
            assert abs(seen - expected) <= 0.5 + 1e-3, (function, name, value, expected, seen)
