"""From a network's logits to probabilities that mean what they say.

Platt scaling (Platt 1999) for one logit, temperature scaling (Guo et al. 2017) for several; both keep the order.
Fitting them is offline work (``fractureai.training.calibrate``); applying them is this module.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def platt(logit: float, slope: float, intercept: float) -> float:
    """Calibrated probability of a binary logit: ``sigmoid(slope * logit + intercept)``."""
    value = slope * logit + intercept
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    scaled = math.exp(value)
    return scaled / (1.0 + scaled)


def softmax(logits: npt.NDArray[np.float32], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Calibrated class probabilities of ``(..., C)`` logits, float64, summing to 1 along the last axis."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    powers = np.exp(scaled)
    result: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result
