"""Fit what turns logits into probabilities, and the thresholds upon them, on images the network has not learnt from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fractureai.domain.calibration import softmax
from fractureai.domain.card import Calibration, ModelCard, OperatingPoints
from fractureai.errors import BrokenDeployment
from fractureai.training.operating_points import Calibrated, Levels, choose_points

Floats = npt.NDArray[np.float64]

_MIN_SLOPE = 0.01
_PRIOR_STRENGTH = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Logits of a fracture model on images it has not learnt from.

    Attributes
    ----------
    logits:
        ``(n,)`` float64.
    fractured:
        ``(n,)`` bool.
    """

    logits: Floats
    fractured: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.logits.shape != self.fractured.shape or self.logits.ndim != 1:
            raise ValueError(f"expected two (n,) arrays, got {self.logits.shape} and {self.fractured.shape}")
        if not np.isfinite(self.logits).all():
            raise ValueError("logits must be finite")


def fit_platt(logits: Floats, fractured: npt.NDArray[np.bool_], prior_slope: float = 1.0) -> tuple[float, float]:
    """Slope and intercept of ``sigmoid(slope · logit + intercept)`` (Platt 1999), by Newton's method.

    Platt's smoothed targets keep it finite when the classes are separable; a weak Gaussian prior on the slope
    (standard deviation 1 about ``prior_slope``, in units of the logits' spread) keeps few images from turning it. The
    slope is at least .01 in these units: a negative one would say that the model is worse than chance.

    Raises
    ------
    BrokenDeployment
        If one of the two classes is missing.
    """
    positives = int(fractured.sum())
    negatives = len(fractured) - positives
    if not positives or not negatives:
        raise BrokenDeployment(f"calibration needs both classes, got {positives} fractured and {negatives} normal")
    targets = np.where(fractured, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    unit = max(float(logits.std()), 1e-6)
    design = np.stack([logits / unit, np.ones_like(logits)], axis=1)
    theta = np.array([prior_slope * unit, math.log((positives + 1) / (negatives + 1))])
    precision, centre = np.diag([_PRIOR_STRENGTH, 0.0]), np.array([prior_slope * unit, 0.0])

    def loss(at: Floats) -> float:
        value = design @ at
        prior = 0.5 * float((at - centre) @ precision @ (at - centre))
        return float(np.logaddexp(0, value).sum() - (targets * value).sum()) + prior

    for _ in range(100):
        predicted = _sigmoid(design @ theta)
        gradient = design.T @ (predicted - targets) + precision @ (theta - centre)
        weights = np.maximum(predicted * (1 - predicted), 1e-12)
        step = np.linalg.solve((design * weights[:, None]).T @ design + precision + 1e-9 * np.eye(2), gradient)
        size = 1.0
        while loss(theta - size * step) > loss(theta) and size > 1e-6:
            size /= 2
        theta = theta - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return max(_MIN_SLOPE, float(theta[0])) / unit, float(theta[1])


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

    The slope of all regions pooled is the prior of each region's own; regions lend each other images where one has too
    few for a bound (see :func:`fractureai.training.operating_points.choose_points`).
    """
    pooled_slope, _ = fit_platt(
        np.concatenate([part.logits for part in held_out.values()]),
        np.concatenate([part.fractured for part in held_out.values()]),
    )
    fits = {region: fit_platt(part.logits, part.fractured, pooled_slope) for region, part in held_out.items()}
    calibrated = {
        region: Calibrated(_sigmoid(slope * held_out[region].logits + intercept), held_out[region].fractured)
        for region, (slope, intercept) in fits.items()
    }
    points = choose_points(calibrated, levels)
    return {
        region: FractureCalibration(
            Calibration(
                method="platt",
                slope=slope,
                intercept=intercept,
                fitted_on=fitted_on,
                images=len(held_out[region].logits),
            ),
            points[region],
        )
        for region, (slope, intercept) in fits.items()
    }


def calibrate_region(logits: Floats, classes: npt.NDArray[np.int64], fitted_on: str) -> Calibration:
    """Temperature scaling of the region classifier from ``(n, C)`` held-out logits and ``(n,)`` class numbers."""
    temperature = fit_temperature(logits, classes)
    return Calibration(method="temperature", temperature=temperature, fitted_on=fitted_on, images=len(classes))


def logits_of(probabilities: Floats, card: ModelCard) -> Floats:
    """Undo a card's Platt scaling, so that a reading can be calibrated anew; inverse of ``platt``."""
    inside = np.clip(probabilities, 1e-15, 1 - 1e-15)
    return (np.log(inside) - np.log1p(-inside) - card.calibration.intercept) / card.calibration.slope


def region_logits_of(probabilities: Floats, card: ModelCard) -> Floats:
    """Undo a card's temperature: ``(n, C)`` logits up to a constant per image, which softmax does not see."""
    return np.asarray(np.log(np.maximum(probabilities, 1e-30)) * card.calibration.temperature, np.float64)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), np.float64)
