"""How good a classifier's scores are. Pure functions of arrays; where a rate is undefined they return ``nan``.

Labels are ``(n,)`` of 0 and 1 (1 is the finding), scores ``(n,)`` floats, higher is more suspicious.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[Any]
Scores = npt.NDArray[Any]
Metric = Callable[[Labels, Scores], float]


def auc(labels: Labels, scores: Scores) -> float:
    """Area under the ROC curve: the chance that a random positive scores above a random negative; ties count half.

    By ranks (Hanley and McNeil 1982). ``nan`` if a class is missing.
    """
    positive = np.asarray(labels).astype(bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return math.nan
    _, group, sizes = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2.0
    rank_sum = float(ranks[group][positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative)


def average_precision(labels: Labels, scores: Scores) -> float:
    """Sum over distinct thresholds of precision times the gain in recall; ``nan`` without a positive."""
    truth, values = np.asarray(labels).astype(bool), np.asarray(scores)
    if not truth.any():
        return math.nan
    order = np.argsort(-values, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_tie = np.append(np.diff(values[order]) != 0, True)
    found, called = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    gain = np.diff(np.append(0, found)) / truth.sum()
    return float((gain * found / called).sum())


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts and rates at a threshold (scores at or above it are called positive)."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def sensitivity(self) -> float:
        """Share of positives that are called; ``nan`` without positives."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of negatives that are not called; ``nan`` without negatives."""
        return _share(self.true_negative, self.true_negative + self.false_positive)

    @property
    def positive_predictive_value(self) -> float:
        """Share of the called that are positive; ``nan`` if none is called."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def negative_predictive_value(self) -> float:
        """Share of those not called that are negative; ``nan`` if all are called."""
        return _share(self.true_negative, self.true_negative + self.false_negative)

    @property
    def kappa(self) -> float:
        """Cohen's kappa of call and label (Cohen 1960); ``nan`` where chance alone agrees always."""
        total = self.true_positive + self.false_positive + self.true_negative + self.false_negative
        if total == 0:
            return math.nan
        called, positive = self.true_positive + self.false_positive, self.true_positive + self.false_negative
        chance = (called * positive + (total - called) * (total - positive)) / total**2
        agreed = (self.true_positive + self.true_negative) / total
        return math.nan if chance == 1 else (agreed - chance) / (1 - chance)


def rates_at(labels: Labels, scores: Scores, threshold: float) -> Rates:
    """The four counts when scores at or above ``threshold`` are called positive."""
    truth, called = np.asarray(labels).astype(bool), np.asarray(scores) >= threshold
    return Rates(
        true_positive=int((truth & called).sum()),
        false_positive=int((~truth & called).sum()),
        true_negative=int((~truth & ~called).sum()),
        false_negative=int((truth & ~called).sum()),
    )


def roc_curve(labels: Labels, scores: Scores) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """False and true positive rates, from (0, 0) to (1, 1), a point for every distinct score."""
    truth, values = np.asarray(labels).astype(bool), np.asarray(scores)
    order = np.argsort(-values, kind="stable")
    last_of_tie = np.append(np.diff(values[order]) != 0, True)
    true_positive = np.append(0, np.cumsum(truth[order])[last_of_tie])
    false_positive = np.append(0, np.cumsum(~truth[order])[last_of_tie])
    return false_positive / max(1, (~truth).sum()), true_positive / max(1, truth.sum())


def brier(labels: Labels, probabilities: Scores) -> float:
    """Mean squared distance of probability and label (Brier 1950)."""
    return float(np.mean((np.asarray(probabilities, np.float64) - np.asarray(labels, np.float64)) ** 2))


def reliability(
    labels: Labels, probabilities: Scores, bins: int = 10
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Mean probability, observed share and size of bins of equal mass, lowest probabilities first.

    Bins of equal mass (the same number of images in each, give or take one), because most images are normal and bins
    of equal width would leave the upper ones nearly empty. Fewer bins where there are fewer images.
    """
    order = np.argsort(np.asarray(probabilities), kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    predicted = np.array([np.asarray(probabilities, np.float64)[part].mean() for part in parts])
    observed = np.array([np.asarray(labels, np.float64)[part].mean() for part in parts])
    return predicted, observed, np.array([len(part) for part in parts], np.int64)


def expected_calibration_error(labels: Labels, probabilities: Scores, bins: int = 10) -> float:
    """Mean distance of probability and observed share over bins of equal mass (see :func:`reliability`)."""
    predicted, observed, sizes = reliability(labels, probabilities, bins)
    return float((np.abs(predicted - observed) * sizes).sum() / sizes.sum())


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its interval."""

    value: float
    low: float
    high: float


def bootstrap_by_block(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    blocks: Sequence[str],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap that draws whole blocks, as images of one patient are not independent (Efron 1979).

    Parameters
    ----------
    statistic:
        Of the indices of the images drawn, with repetition. Draws where it is ``nan`` are left out.
    blocks:
        The block of each image.
    """
    _, of_image = np.unique(np.asarray(blocks), return_inverse=True)
    members = [np.flatnonzero(of_image == block) for block in range(int(of_image.max()) + 1)] if len(blocks) else []
    value = statistic(np.arange(len(blocks)))
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples if members else 0):
        chosen = generator.integers(0, len(members), len(members))
        drawn.append(statistic(np.concatenate([members[block] for block in chosen])))
    finite = np.array(drawn, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def exact_upper_bound(events: int, trials: int, confidence: float) -> float:
    """One-sided Clopper–Pearson upper bound on a rate after ``events`` in ``trials`` (Clopper and Pearson 1934).

    The largest rate at which so few events would still be seen with probability ``1 - confidence``; 1 without trials.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"expected 0 <= events <= trials, got {events} of {trials}")
    if events == trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if binomial_cdf(events, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def binomial_cdf(events: int, trials: int, rate: float) -> float:
    """The chance of at most ``events`` in ``trials`` when each happens with probability ``rate``."""
    if rate <= 0 or events >= trials:
        return 1.0
    if rate >= 1:
        return 0.0
    log_terms = [
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(rate)
        + (trials - count) * math.log1p(-rate)
        for count in range(events + 1)
    ]
    largest = max(log_terms)
    return min(1.0, math.exp(largest) * math.fsum(math.exp(term - largest) for term in log_terms))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
