"""TensorFlow: training's twin of the serving engine, for GPUs and for holding the serving engine to account.

Nothing that serves imports this module. The network itself is handed in, so that this room needs not know how
training builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain.card import NetworkCard
from fractureai.inference.engine import LOCALISATION, OUTPUTS, Engine, EngineFactory, EngineOutput

Network = Callable[[Any], Mapping[str, Any]]
"""``(N, H, W, 1)`` float32 tensor to the outputs by name (``fractureai.inference.engine``)."""


class TensorFlowEngine:
    """A network compiled as one graph.

    Parameters
    ----------
    network:
        Called in inference mode once per new batch shape, then traced.
    batch_size:
        Larger batches are cut, so that memory stays bounded.
    traced:
        Tracing takes seconds and is worth it from some dozen images on.
    """

    def __init__(self, network: Network, *, batch_size: int = 32, traced: bool = True) -> None:
        import tensorflow as tf

        self._run = tf.function(network, reduce_retracing=True) if traced else network
        self._constant = tf.constant
        self._batch_size = batch_size

    def infer(self, batch: npt.NDArray[np.float32]) -> EngineOutput:
        """See :class:`fractureai.inference.engine.Engine`."""
        if batch.ndim != 4 or not len(batch) or batch.dtype != np.float32:
            raise ValueError(f"expected (N, H, W, 1) float32 with N >= 1, got {batch.shape} {batch.dtype}")
        parts = [
            self._run(self._constant(batch[start : start + self._batch_size]))
            for start in range(0, len(batch), self._batch_size)
        ]
        names = [name for name in OUTPUTS + LOCALISATION if name in parts[0]]
        return EngineOutput(
            **{name: np.concatenate([np.asarray(part[name], np.float32) for part in parts]) for name in names}
        )


def tensorflow_engine(load: Callable[[Path, NetworkCard], Network], *, traced: bool = True) -> EngineFactory:
    """The factory for ``ModelRegistry``; ``load`` builds the network of a folder and card."""

    def build(folder: Path, card: NetworkCard) -> Engine:
        return TensorFlowEngine(load(folder, card), traced=traced)

    return build
