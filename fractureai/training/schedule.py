"""The schedule of the shared training: sizes grow, because early on small pictures teach as much for less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fractureai.training.augment import Recipe
from fractureai.training.network import STRIDE_PX


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training at one size.

    Attributes
    ----------
    recipe:
        What the pictures undergo.
    steps, batch_size, rate:
        Length and highest learning rate.
    decay:
        Let the rate fall along a cosine to 1 % (last stage), instead of keeping it.
    average:
        Decay of the moving average of the weights; the average is what is shipped.
    """

    recipe: Recipe
    steps: int
    batch_size: int
    rate: float
    decay: bool = False
    average: float = 0.997


def growing(size_px: int, steps: Sequence[int], batch_size: int) -> list[Stage]:
    """Windows of two fifths of the final size at seven tenths of its scale, then three fifths, then whole pictures."""
    small, middle, last = steps
    return [
        Stage(
            Recipe(_multiple(0.4 * size_px), int(0.7 * size_px), whole=False, intensity=0.5, turn_deg=18.0),
            small, batch_size, rate=1.5e-3, average=0.99,
        ),
        Stage(
            Recipe(_multiple(0.6 * size_px), size_px, whole=False, intensity=0.7, turn_deg=18.0),
            middle, batch_size, rate=1.5e-3, average=0.997,
        ),
        Stage(
            Recipe(size_px, size_px, whole=True, zoom=0.1, intensity=0.6, turn_deg=18.0),
            last, max(8, batch_size * 3 // 4), rate=8e-4, decay=True, average=0.995,
        ),
    ]  # fmt: skip


def _multiple(side_px: float) -> int:
    return max(STRIDE_PX, round(side_px / STRIDE_PX) * STRIDE_PX)
