"""What the networks are trained to lower. Keras operations only, so any of its back ends will do.

Keras hands a loss one target array for an output; where a picture counts only for the head of its own region, the
target carries the region along.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from fractureai.training.pictures import NO_REGION

LABEL_SMOOTHING = 0.06
REGION_SMOOTHING = 0.05
FOCUS = 2.0
FRACTURE_SHARE = 0.6
NOT_COUNTED = -1.0
_NEVER = -1e4


def region_targets(
    region: npt.NDArray[np.int32], values: npt.NDArray[np.float32], regions: int
) -> npt.NDArray[np.float32]:
    """Spread ``values`` ``(N, …)`` over heads: ``(N, …, regions)``, ``NOT_COUNTED`` for the other regions' heads."""
    spread = np.full((*values.shape, regions), NOT_COUNTED, np.float32)
    for number, own in enumerate(region):
        if own != NO_REGION:
            spread[number, ..., own] = values[number]
    return spread


def region_shares(region: npt.NDArray[np.int32], regions: int) -> npt.NDArray[np.float32]:
    """Targets ``(N, R)`` of the region head: 1 for the region; all alike for what is no limb."""
    shares = np.full((len(region), regions), 1 / regions, np.float32)
    known = region != NO_REGION
    shares[known] = np.eye(regions, dtype=np.float32)[region[known]]
    return shares


@keras.saving.register_keras_serializable(package="fractureai")
class OwnRegionLoss(keras.losses.Loss):
    """Binary cross-entropy of the own region's logit, smoothed labels; targets from :func:`region_targets`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """``(N, R)`` targets and logits to ``(N,)``."""
        counted = ops.cast(y_true >= 0, y_pred.dtype)
        smooth = y_true * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / 2
        return ops.sum(counted * _cross_entropy(smooth, y_pred), axis=-1) / ops.maximum(ops.sum(counted, -1), 1.0)


@keras.saving.register_keras_serializable(package="fractureai")
class BoxLoss(keras.losses.Loss):
    """Focal loss (Lin 2017) of the dense map against the cells that fractures cover, per marked cell of the batch."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """``(N, h, w, R)`` targets (1, 0 or not counted) and logits to ``(N,)``."""
        target = ops.cast(y_true > 0, y_pred.dtype)
        counted = ops.cast(y_true >= 0, y_pred.dtype)
        right = ops.where(y_true > 0, ops.sigmoid(y_pred), ops.sigmoid(-y_pred))
        share = ops.where(y_true > 0, FRACTURE_SHARE, 1 - FRACTURE_SHARE)
        focal = share * (1 - right) ** FOCUS * _cross_entropy(target, y_pred) * counted
        marked = ops.maximum(ops.sum(target * counted), 4.0)
        pictures = ops.cast(ops.shape(y_pred)[0], y_pred.dtype)
        return ops.sum(focal, axis=(1, 2, 3)) * pictures / marked


@keras.saving.register_keras_serializable(package="fractureai")
class OutsideLoss(keras.losses.Loss):
    """How much of the fracture logit comes from outside the boxes: minus the log of the softmax's share inside.

    0 for pictures without a marked fracture.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """``(N, h, w, R)`` targets (1, 0 or not counted) and logits to ``(N,)``."""
        axes = (1, 2, 3)
        marked = ops.any(y_true > 0, axis=axes)
        counted = ops.logsumexp(ops.where(y_true >= 0, y_pred, _NEVER), axis=axes)
        inside = ops.logsumexp(ops.where(y_true > 0, y_pred, _NEVER), axis=axes)
        return ops.where(marked, counted - inside, 0.0)


def region_loss() -> keras.losses.Loss:
    """Cross-entropy over the regions, smoothed labels."""
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=REGION_SMOOTHING)


def fracture_loss() -> keras.losses.Loss:
    """Binary cross-entropy of a single logit, smoothed labels."""
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)


def _cross_entropy(target: Any, logit: Any) -> Any:
    return ops.maximum(logit, 0.0) - logit * target + ops.log1p(ops.exp(-ops.abs(logit)))
