"""Fit what turns a network's numbers into probabilities, and the thresholds upon them, on images it has not learnt
from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fractureai.domain.calibration import softmax
from fractureai.domain.card import Calibration, Localisation, OperatingPoints
from fractureai.errors import BrokenDeployment
from fractureai.training.operating_points import Calibrated, Levels, choose_points

Floats = npt.NDArray[np.float64]

_MIN_SLOPE = 0.01
_PRIOR_STRENGTH = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Numbers of a fracture model on images it has not learnt from.

    Attributes
    ----------
    logits:
        ``(n,)`` float64.
    peaks:
        ``(n,)`` float64, the localisation map's highest logit; ``None`` without one.
    fractured:
        ``(n,)`` bool.
    """

    logits: Floats
    peaks: Floats | None
    fractured: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.logits.shape != self.fractured.shape or self.logits.ndim != 1:
            raise ValueError(f"expected two (n,) arrays, got {self.logits.shape} and {self.fractured.shape}")
        if not np.isfinite(self.numbers).all():
            raise ValueError("logits must be finite")

    @property
    def numbers(self) -> Floats:
        """``(n, k)``: the logits, and the peaks if there are any."""
        columns = [self.logits] if self.peaks is None else [self.logits, self.peaks]
        return np.stack(columns, axis=1)


def fit_platt(numbers: Floats, fractured: npt.NDArray[np.bool_], prior: Floats | None = None) -> tuple[Floats, float]:
    """Slopes and intercept of ``sigmoid(numbers · slopes + intercept)`` (Platt 1999), by Newton's method.

    Platt's smoothed targets keep it finite when the classes are separable; a weak Gaussian prior on the slopes
    (standard deviation 1 about ``prior``, in units of each number's spread) keeps few images from turning them. A
    slope below .01 in these units is left out of the fit, if there are others; alone it is raised to it: a negative
    one would say that the model is worse than chance.

    Parameters
    ----------
    numbers:
        ``(n, k)``.
    prior:
        ``(k,)`` slopes; by default the same share of 1 for each.

    Raises
    ------
    BrokenDeployment
        If one of the two classes is missing.
    """
    positives = int(fractured.sum())
    negatives = len(fractured) - positives
    if not positives or not negatives:
        raise BrokenDeployment(f"calibration needs both classes, got {positives} fractured and {negatives} normal")
    count = numbers.shape[1]
    unit = np.maximum(numbers.std(axis=0), 1e-6)
    centre = (np.full(count, 1 / count) if prior is None else prior) * unit
    targets = np.where(fractured, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    used = np.ones(count, bool)
    while True:
        slopes, intercept = _newton(numbers[:, used] / unit[used], targets, centre[used])
        weak = slopes < _MIN_SLOPE
        if not weak.any() or used.sum() == 1:
            break
        used[np.flatnonzero(used)[int(slopes.argmin())]] = False
    found = np.zeros(count)
    found[used] = np.maximum(slopes, _MIN_SLOPE) / unit[used]
    return found, intercept


def _newton(design: Floats, targets: Floats, centre: Floats) -> tuple[Floats, float]:
    design = np.concatenate([design, np.ones((len(design), 1))], axis=1)
    share = float(targets.mean())
    theta = np.append(centre, math.log(share / (1 - share)))
    precision = np.diag(np.append(np.full(len(centre), _PRIOR_STRENGTH), 0.0))
    centre = np.append(centre, 0.0)

    def loss(at: Floats) -> float:
        value = design @ at
        prior = 0.5 * float((at - centre) @ precision @ (at - centre))
        return float(np.logaddexp(0, value).sum() - (targets * value).sum()) + prior

    for _ in range(100):
        predicted = sigmoid(design @ theta)
        gradient = design.T @ (predicted - targets) + precision @ (theta - centre)
        weights = np.maximum(predicted * (1 - predicted), 1e-12)
        step = np.linalg.solve((design * weights[:, None]).T @ design + precision + 1e-9 * np.eye(len(theta)), gradient)
        size = 1.0
        while loss(theta - size * step) > loss(theta) and size > 1e-6:
            size /= 2
        theta = theta - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return theta[:-1], float(theta[-1])


def fit_temperature(logits: Floats, classes: npt.NDArray[np.int64]) -> float:
    """The temperature at which the softmax of ``(n, C)`` logits is most likely (Guo et al. 2017), within 0.05..20."""

    def loss(log_temperature: float) -> float:
        chosen = softmax(logits, math.exp(log_temperature))[np.arange(len(classes)), classes]
        return -float(np.log(np.maximum(chosen, 1e-300)).mean())

    low, high = math.log(0.05), math.log(20.0)
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return math.exp((low + high) / 2)


@dataclass(frozen=True, slots=True)
class FractureCalibration:
    """What calibration changes in a fracture model's card."""

    calibration: Calibration
    operating_points: OperatingPoints


def calibrate_fracture(
    held_out: Mapping[str, HeldOut], levels: Levels, fitted_on: str
) -> dict[str, FractureCalibration]:
    """Calibrate the fracture models of all regions together.

    The slopes of all regions pooled are the prior of each region's own; regions lend each other images where one has
    too few for a bound (see :func:`fractureai.training.operating_points.choose_points`).
    """
    pooled, _ = fit_platt(
        np.concatenate([part.numbers for part in held_out.values()]),
        np.concatenate([part.fractured for part in held_out.values()]),
    )
    fits = {region: fit_platt(part.numbers, part.fractured, pooled) for region, part in held_out.items()}
    calibrated = {
        region: Calibrated(sigmoid(held_out[region].numbers @ slopes + intercept), held_out[region].fractured)
        for region, (slopes, intercept) in fits.items()
    }
    points = choose_points(calibrated, levels)
    return {
        region: FractureCalibration(
            Calibration(
                method="platt",
                slope=float(slopes[0]),
                map_slope=float(slopes[1]) if len(slopes) > 1 else 0.0,
                intercept=intercept,
                fitted_on=fitted_on,
                images=len(held_out[region].logits),
            ),
            points[region],
        )
        for region, (slopes, intercept) in fits.items()
    }


def calibrate_region(logits: Floats, classes: npt.NDArray[np.int64], fitted_on: str) -> Calibration:
    """Temperature scaling of the region classifier from ``(n, C)`` held-out logits and ``(n,)`` class numbers."""
    temperature = fit_temperature(logits, classes)
    return Calibration(method="temperature", temperature=temperature, fitted_on=fitted_on, images=len(classes))


def calibrate_boxes(
    logits: Floats, found: npt.NDArray[np.bool_], images: int, false_per_image: float, fitted_on: str
) -> Localisation:
    """How probable boxes are, and from where on they are worth showing.

    Parameters
    ----------
    logits:
        ``(n,)`` of candidate boxes of held-out images.
    found:
        ``(n,)``, whether a marked fracture is at that place.
    images:
        How many images they come from.
    false_per_image:
        The threshold lets this many false boxes an image pass on average.
    """
    slopes, intercept = fit_platt(logits[:, None], found)
    wrong = np.sort(logits[~found])[::-1]
    allowed = min(int(false_per_image * images), len(wrong) - 1)
    threshold = float(sigmoid(np.array(slopes[0] * wrong[allowed] + intercept)))
    return Localisation(slope=float(slopes[0]), intercept=intercept, threshold=threshold, fitted_on=fitted_on)


def sigmoid(values: Floats) -> Floats:
    """The logistic function of an array, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), np.float64)
