"""What runs a network, behind a small protocol. Adapters translate to OpenVINO and to TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fractureai.domain.card import NetworkCard

Floats = npt.NDArray[np.float32]

OUTPUTS = ("logits", "attention", "features")
"""What every graph gives."""
LOCALISATION = ("cells", "sides")
"""What a graph with a localisation head gives besides."""


@dataclass(frozen=True, slots=True, eq=False)
class EngineOutput:
    """What a network returns for a batch of N canvases.

    Attributes
    ----------
    logits:
        ``(N, C)`` float32.
    attention:
        ``(N, h, w, C)`` float32, closed-form Grad-CAM of each logit before the rectifier.
    features:
        ``(N, F)`` float32, the globally pooled last feature map.
    cells, sides:
        ``(N, 2h, 2w, K)`` and ``(N, 2h, 2w, 4)`` float32 of the localisation head; ``None`` without one.
    """

    logits: Floats
    attention: Floats
    features: Floats
    cells: Floats | None = None
    sides: Floats | None = None


class Engine(Protocol):
    """A network in memory. Safe to call from several threads."""

    def infer(self, batch: Floats) -> EngineOutput:
        """Run ``(N, H, W, 1)`` float32, grey 0..255, on canvases from ``fractureai.domain.canvas.lay``."""


EngineFactory = Callable[[Path, NetworkCard], Engine]
"""Builds the engine of the network whose folder and card are given."""


def expected_outputs(card: NetworkCard) -> tuple[str, ...]:
    """The names of the graph's outputs."""
    return OUTPUTS + (LOCALISATION if card.localised else ())
