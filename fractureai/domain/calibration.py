"""From a network's numbers to probabilities that mean what they say.

Platt scaling (Platt 1999) of a logit and of the localisation map's peak, temperature scaling (Guo et al. 2017) of
several logits. Fitting them is offline work (``fractureai.training.calibrate``); applying them is this module.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def sigmoid(value: float) -> float:
    """The logistic function, without overflow."""
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
