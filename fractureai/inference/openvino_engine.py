"""OpenVINO on the CPU: what serves."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fractureai.domain.card import NetworkCard
from fractureai.errors import BrokenDeployment
from fractureai.inference.engine import EngineFactory, EngineOutput, expected_outputs

Precision = Literal["f32", "bf16"]


class OpenVinoEngine:
    """One network, compiled for the lowest latency of a single image.

    Parameters
    ----------
    model_xml:
        OpenVINO IR; the ``.bin`` is beside it.
    card:
        The network's card.
    threads:
        CPU threads of this network; 0 leaves the choice to OpenVINO.
    precision:
        What the CPU computes in. ``f32`` reads alike on every machine; ``bf16`` is faster where the CPU has the
        instructions, but then two machines of one site may differ in the second decimal.
    """

    def __init__(self, model_xml: Path, card: NetworkCard, *, threads: int = 0, precision: Precision = "f32") -> None:
        self._shape = (card.input.height_px, card.input.width_px, 1)
        outputs = expected_outputs(card)
        self._compiled = _compile(model_xml, (1, *self._shape), outputs, threads, precision)
        self._outputs = [self._compiled.output(name) for name in outputs]
        self._request = self._compiled.create_infer_request()
        self._lock = threading.Lock()

    def infer(self, batch: npt.NDArray[np.float32]) -> EngineOutput:
        """See :class:`fractureai.inference.engine.Engine`."""
        if batch.ndim != 4 or batch.shape[1:] != self._shape or batch.dtype != np.float32 or not len(batch):
            raise ValueError(f"expected (N, {self._shape}) float32 with N >= 1, got {batch.shape} {batch.dtype}")
        # Measured: a fixed batch of one is faster per image than a free batch size, and takes less memory. Giving the
        # memory between the layers back after each call saves 11 MB a model and costs 5 ms a call: not worth it.
        with self._lock:
            parts = [self._one(np.ascontiguousarray(image[None])) for image in batch]
        return EngineOutput(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _one(self, image: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        self._request.infer([image], share_inputs=True)
        return [np.array(self._request.get_tensor(port).data, np.float32) for port in self._outputs]


def openvino_engine(*, threads: int = 0, precision: Precision = "f32") -> EngineFactory:
    """The factory for ``ModelRegistry`` with these settings; loads OpenVINO with the first network, not before."""

    def build(folder: Path, card: NetworkCard) -> OpenVinoEngine:
        return OpenVinoEngine(folder / "model.xml", card, threads=threads, precision=precision)

    return build


def _compile(
    model_xml: Path, shape: tuple[int, ...], outputs: tuple[str, ...], threads: int, precision: Precision
) -> Any:
    import openvino  # Heavy, and not safe to carry across a fork: on first use only.

    core = openvino.Core()
    hints: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": _supported(core, precision),
        # Several worker processes share the machine; each would pin itself to the same first core.
        "ENABLE_CPU_PINNING": False,
    }
    if threads > 0:
        hints["INFERENCE_NUM_THREADS"] = threads
    try:
        model = core.read_model(model_xml)
        if not model.input("image").get_partial_shape().compatible(openvino.PartialShape(list(shape))):
            raise BrokenDeployment(f"{model_xml} does not take images of {shape}; card and network disagree")
        model.reshape({"image": list(shape)})
        missing = [name for name in outputs if not any(name in port.get_names() for port in model.outputs)]
        if missing:
            raise BrokenDeployment(f"{model_xml} lacks the output(s) {', '.join(missing)}")
        return core.compile_model(model, "CPU", hints)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[-300:]
        raise BrokenDeployment(f"OpenVINO cannot use {model_xml}: {detail}") from error


def _supported(core: Any, precision: Precision) -> str:
    capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if precision == "bf16" and capable else "f32"
