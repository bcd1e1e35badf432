"""What the Keras networks are trained to lower, and how far labels are trusted."""

from __future__ import annotations

import keras

LABEL_SMOOTHING = 0.06
REGION_SMOOTHING = 0.05


def region_loss() -> keras.losses.Loss:
    """Cross-entropy over the regions, smoothed labels."""
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=REGION_SMOOTHING)


def fracture_loss() -> keras.losses.Loss:
    """Binary cross-entropy of a single logit, smoothed labels."""
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)
