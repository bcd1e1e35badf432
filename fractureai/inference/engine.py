"""What runs a network, behind a small protocol. Adapters translate to OpenVINO and to TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fractureai.domain.card import ModelCard


@dataclass(frozen=True, slots=True, eq=False)
class EngineOutput:
    """What a network returns for a batch of N images.

    Attributes
    ----------
    logits:
        ``(N, C)`` float32.
    attention:
        ``(N, h, w, C)`` float32, closed-form Grad-CAM of each logit before the rectifier.
    features:
        ``(N, F)`` float32, the globally pooled last feature map.
    """

    logits: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]


class Engine(Protocol):
    """A network in memory. Safe to call from several threads."""

    def infer(self, batch: npt.NDArray[np.float32]) -> EngineOutput:
        """Run ``(N, S, S, 1)`` float32, grey 0..255, on canvases from ``fractureai.domain.canvas.fit``."""


EngineFactory = Callable[[Path, ModelCard], Engine]
"""Builds the engine of the model whose folder and card are given."""
