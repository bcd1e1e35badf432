"""Where things stand on the drawn probability scale. Pure geometry, in the units of its SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WIDTH = 320.0
# Widths of the labels in the widest of the usual fonts.
_SUSPECTED_LABEL = 124.0
_FRACTURE_LABEL = 104.0
_HALF_VALUE = 22.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the scale, to which side of it the label goes, and in which of the two rows below."""

    x: float
    value: float
    anchor: str
    row: int = 1


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of one image: its probability and the two thresholds."""

    probability: Mark
    suspected: Mark
    fracture: Mark


def scale_of(image: dict[str, Any]) -> Scale | None:
    """The scale of an image of ``result.json``; ``None`` if it was not assessed."""
    probability, thresholds = image["fracture_probability"], image["thresholds"]
    if probability is None or thresholds is None:
        return None
    return Scale(_pointer(probability), *_thresholds(thresholds["suspected"], thresholds["fracture"]))


def _pointer(value: float) -> Mark:
    x = _place(value)
    if x < _HALF_VALUE:
        return Mark(x, value, "start")
    return Mark(x, value, "end" if x > WIDTH - _HALF_VALUE else "middle")


def _thresholds(suspected: float, fracture: float) -> tuple[Mark, Mark]:
    """Labels on such sides and in such rows that no tick runs through one."""
    low, high = _place(suspected), _place(fracture)
    if high + _FRACTURE_LABEL <= WIDTH:
        return Mark(low, suspected, "start", 2), Mark(high, fracture, "start", 1)
    if low >= _SUSPECTED_LABEL:
        return Mark(low, suspected, "end", 1), Mark(high, fracture, "end", 2)
    if low + _SUSPECTED_LABEL <= high:
        return Mark(low, suspected, "start", 1), Mark(high, fracture, "end", 2)
    return Mark(low, suspected, "start", 2), Mark(high, fracture, "end", 1)


def _place(value: float) -> float:
    return round(min(max(value, 0.0), 1.0) * WIDTH, 1)
