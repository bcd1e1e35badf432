"""The schedule of the shared training: windows first, then the whole anatomy; early on small pictures teach as much
for less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fractureai.domain.canvas import Canvas
from fractureai.training.augment import Recipe


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
    frozen_stages:
        Stages of the backbone that keep their weights. The first two take half of a step's time at full size, and what
        they see, edges and bars, they know from ImageNet and the windows.
    """

    recipe: Recipe
    steps: int
    batch_size: int
    rate: float
    decay: bool = False
    average: float = 0.99
    frozen_stages: int = 0


def schedule(canvas: Canvas, steps: Sequence[int], batch_size: int, rate: float) -> list[Stage]:
    """Square windows of two thirds of the canvas's width, then the whole anatomy on the canvas."""
    windows, whole = steps
    side = round(canvas.width_px * 2 / 3 / 32) * 32
    full = (canvas.height_px, canvas.width_px)
    return [
        Stage(Recipe(side, side, *full, far=0.08, near=0.0), windows, batch_size, rate, average=0.98),
        Stage(Recipe(*full, *full), whole, max(1, batch_size // 2), rate, decay=True, frozen_stages=2),
    ]
