"""The network's shape in numbers and names; knows no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FEATURES = 1280
STRIDE_PX = 32
LOCAL_STRIDE_PX = 16
LOCAL_CHANNELS = 128
HEAD, CELLS, SIDES = "head", "cells", "sides"
LOG_SIDES_LIMITS = (-2.0, 6.0)
"""Of the logarithm of a side in px: from an eighth to four hundred."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network decides.

    Attributes
    ----------
    classes:
        What each logit means, in their order. One alone is trained as a sigmoid, several as a softmax or as the
        training sees fit.
    localised:
        What each channel of the localisation map means; empty for a network without one.
    height_px, width_px:
        The canvas; ``None`` leaves it open (training at growing sizes).
    """

    classes: tuple[str, ...]
    localised: tuple[str, ...] = ()
    height_px: int | None = None
    width_px: int | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("a network needs at least one class")


def shared_outputs(regions: Sequence[str]) -> list[str]:
    """What the logits of a network of several regions mean: which region it is, then each region's fracture."""
    return [f"region {name}" for name in regions] + [f"fracture {name}" for name in regions]
