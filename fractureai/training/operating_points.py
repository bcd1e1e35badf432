"""Two thresholds with finite-sample guarantees.

Learn then test (Angelopoulos et al. 2021) with exact binomial p-values and fixed-sequence testing: thresholds are tried
from the safest on, and the last one whose rate is bounded with the wanted confidence is taken. With order statistics as
candidates this is the classical tolerance limit. It holds for images drawn like those it was set on, each counted as
independent; views of one patient are not quite, so the true confidence is a little lower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fractureai.domain.card import OperatingPoint, OperatingPoints
from fractureai.domain.statistics import binomial_cdf

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Levels:
    """What the two thresholds should promise.

    Attributes
    ----------
    missed_fractures:
        Largest share of fractures below ``suspected``.
    false_alarms:
        Largest share of normal images at or above ``fracture``.
    confidence:
        The probability with which each bound holds.
    loosest:
        How far a level may be loosened, in steps of .05, where a region has too few images for it; the step depends on
        their number alone, never on their scores. Beyond it the images of all regions are pooled.
    """

    missed_fractures: float = 0.15
    false_alarms: float = 0.10
    confidence: float = 0.90
    loosest: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < min(self.missed_fractures, self.false_alarms) <= max(self.missed_fractures, self.false_alarms) < 1:
            raise ValueError(f"levels must lie between 0 and 1, got {self}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"the confidence must lie between 0 and 1, got {self.confidence}")


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Calibrated probabilities ``(n,)`` float64 and labels ``(n,)`` bool of held-out images."""

    probabilities: Floats
    fractured: npt.NDArray[np.bool_]


def allowed_events(trials: int, level: float, confidence: float) -> int:
    """How many of ``trials`` may be on the wrong side so that the rate is bounded by ``level``; -1 if not even none."""
    events = -1
    while events + 1 < trials and binomial_cdf(events + 1, trials, level) <= 1 - confidence:
        events += 1
    return events


def affordable_level(trials: int, wanted: float, levels: Levels) -> float | None:
    """The wanted level, loosened in steps of .05 until one error would be forgiven; ``None`` if that is too loose.

    A threshold that forgives no error lies at the single most extreme image, and the next data move it far.
    """
    level = wanted
    while level <= max(wanted, levels.loosest) + 1e-9:
        if allowed_events(trials, level, levels.confidence) >= 1:
            return round(level, 4)
        level += 0.05
    return None


def choose_points(by_region: Mapping[str, Calibrated], levels: Levels) -> dict[str, OperatingPoints]:
    """Both thresholds of every region.

    Where ``suspected`` would lie above ``fracture`` it is lowered to it, which misses fewer fractures still.
    """
    pooled = Calibrated(
        np.concatenate([part.probabilities for part in by_region.values()]),
        np.concatenate([part.fractured for part in by_region.values()]),
    )
    return {region: _points(part, pooled, levels) for region, part in by_region.items()}


def _points(own: Calibrated, pooled: Calibrated, levels: Levels) -> OperatingPoints:
    fracture = _fracture_point(own, pooled, levels)
    suspected = _suspected_point(own, pooled, levels)
    if suspected.threshold > fracture.threshold:
        missed = own.probabilities[own.fractured] < fracture.threshold
        observed = float(missed.mean()) if len(missed) else 0.0
        suspected = suspected.model_copy(update={"threshold": fracture.threshold, "observed": observed})
    return OperatingPoints(fracture=fracture, suspected=suspected)


def _suspected_point(own: Calibrated, pooled: Calibrated, levels: Levels) -> OperatingPoint:
    part, level, scope = _enough(own, pooled, True, levels.missed_fractures, levels)
    scores = np.sort(part.probabilities[part.fractured])
    forgiven = allowed_events(len(scores), level, levels.confidence)
    threshold = float(scores[forgiven]) if forgiven >= 0 else 0.0
    return _point(threshold, "missed_fractures", level, scores < threshold, (scope, levels))


def _fracture_point(own: Calibrated, pooled: Calibrated, levels: Levels) -> OperatingPoint:
    part, level, scope = _enough(own, pooled, False, levels.false_alarms, levels)
    scores = np.sort(part.probabilities[~part.fractured])[::-1]
    forgiven = allowed_events(len(scores), level, levels.confidence)
    threshold = _just_above(scores, forgiven) if forgiven >= 0 else 1.0
    return _point(threshold, "false_alarms", level, scores >= threshold, (scope, levels))


def _enough(
    own: Calibrated, pooled: Calibrated, fractured: bool, wanted: float, levels: Levels
) -> tuple[Calibrated, float, str]:
    for part, scope in ((own, "this region's images"), (pooled, "the images of all regions, as this one has too few")):
        level = affordable_level(int((part.fractured == fractured).sum()), wanted, levels)
        if level is not None:
            return part, level, scope
    return pooled, max(wanted, levels.loosest), "too few images for the bound; the safest threshold was taken"


def _just_above(descending: Floats, forgiven: int) -> float:
    """A threshold that exactly the first ``forgiven`` scores reach: midway to the next, or just above it on a tie."""
    first_below = float(descending[min(forgiven, len(descending) - 1)])
    above = descending[descending > first_below]
    if len(above):
        return (first_below + float(above.min())) / 2
    return min(1.0, float(np.nextafter(first_below, 2.0)))


def _point(
    threshold: float, rate: str, level: float, wrong: npt.NDArray[np.bool_], about: tuple[str, Levels]
) -> OperatingPoint:
    scope, levels = about
    return OperatingPoint(
        threshold=threshold,
        rate=rate,  # type: ignore[arg-type]
        bound=level,
        confidence=levels.confidence,
        observed=float(wrong.mean()) if len(wrong) else 0.0,
        images=len(wrong),
        method=f"learn then test with the exact binomial tail, set on {scope}",
    )
