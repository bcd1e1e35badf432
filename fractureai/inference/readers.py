"""From images to readings: canvas, network, mirror image, calibration. Numbers come from the card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fractureai.domain.calibration import platt, softmax
from fractureai.domain.canvas import fit
from fractureai.domain.card import InputSpec, ModelCard
from fractureai.domain.scores import FractureReading, ModelIdentity, RegionReading
from fractureai.errors import BrokenDeployment
from fractureai.inference.engine import Engine, EngineOutput
from fractureai.inference.scope import ScopeModel

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class RegionReader:
    """The region classifier with its card; a :class:`fractureai.domain.ports.RegionModel`."""

    def __init__(self, card: ModelCard, identity: ModelIdentity, engine: Engine, scope: ScopeModel) -> None:
        self.card = card
        self.identity = identity
        self._engine = engine
        self._scope = scope

    def read(self, images: Sequence[Grey]) -> list[RegionReading]:
        """One reading an image; images are ``(H, W)`` uint8, bones bright, of any size."""
        if not images:
            return []
        logits, features = read_features(self._engine, self.card.input, images)
        if logits.shape[1] != len(self.card.classes):
            raise BrokenDeployment(f"{self.card.name} has {logits.shape[1]} outputs, {len(self.card.classes)} classes")
        probabilities = softmax(logits, self.card.calibration.temperature)
        scores = self._scope.score(features)
        return [
            RegionReading(dict(zip(self.card.classes, map(float, row), strict=True)), float(score))
            for row, score in zip(probabilities, scores, strict=True)
        ]


class FractureReader:
    """The fracture model of one region with its card; a :class:`fractureai.domain.ports.FractureModel`."""

    def __init__(self, card: ModelCard, identity: ModelIdentity, engine: Engine) -> None:
        self.card = card
        self.identity = identity
        self._engine = engine

    def read(self, images: Sequence[Grey]) -> list[FractureReading]:
        """One reading an image; images are ``(H, W)`` uint8, bones bright, of any size."""
        return [self._reading(output) for output in run_views(self._engine, self.card.input, images)]

    def _reading(self, output: EngineOutput) -> FractureReading:
        """From the rows of one image's views: the image and, where the card asks for it, its mirror image."""
        slope, intercept = self.card.calibration.slope, self.card.calibration.intercept
        logits = output.logits[:, 0].astype(np.float64)
        return FractureReading(
            probability=platt(float(logits.mean()), slope, intercept),
            attention=output.attention[..., 0].mean(axis=0, dtype=np.float32),
            spread=float(np.std([platt(float(logit), slope, intercept) for logit in logits])),
        )


def run_views(engine: Engine, spec: InputSpec, images: Sequence[Grey]) -> list[EngineOutput]:
    """Run the network over each image's views.

    Returns
    -------
    One output an image, a row a view: the image itself, then its mirror image where ``spec.test_time_flip``. The
    mirror image's attention is turned back, so that all rows lie on the image's own canvas.
    """
    if not images:
        return []
    canvases = np.stack([fit(image, spec.size_px) for image in images])[..., None]
    plain = engine.infer(canvases)
    if not spec.test_time_flip:
        return [EngineOutput(*rows) for rows in _by_image(plain)]
    mirrored = engine.infer(np.ascontiguousarray(canvases[:, :, ::-1]))
    turned_back = EngineOutput(mirrored.logits, mirrored.attention[:, :, ::-1], mirrored.features)
    return [
        EngineOutput(*(np.concatenate(pair) for pair in zip(ours, theirs, strict=True)))
        for ours, theirs in zip(_by_image(plain), _by_image(turned_back), strict=True)
    ]


def read_features(engine: Engine, spec: InputSpec, images: Sequence[Grey]) -> tuple[Floats, Floats]:
    """Logits ``(N, C)`` and features ``(N, F)`` float32 of N images, each the mean over the image's views.

    What serving decides on and what the calibration and the scope rule are fitted on come from here alike.
    """
    outputs = run_views(engine, spec, images)
    logits = np.stack([output.logits.mean(axis=0, dtype=np.float32) for output in outputs])
    features = np.stack([output.features.mean(axis=0, dtype=np.float32) for output in outputs])
    return logits, features


def _by_image(output: EngineOutput) -> list[tuple[Floats, Floats, Floats]]:
    columns = (output.logits, output.attention, output.features)
    return [
        (columns[0][row : row + 1], columns[1][row : row + 1], columns[2][row : row + 1])
        for row in range(len(output.logits))
    ]
