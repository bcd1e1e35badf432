"""Models: what the numbers of a network mean. Everything that is chosen comes from the card."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fractureai.domain.calibration import sigmoid, softmax
from fractureai.domain.card import ModelCard
from fractureai.domain.localisation import places
from fractureai.domain.scores import Box, FractureReading, ModelIdentity, NetworkReading, RegionReading
from fractureai.inference.network import Network
from fractureai.inference.scope import ScopeModel

Grey = npt.NDArray[np.uint8]


class RegionReader:
    """The region classifier; a :class:`fractureai.domain.ports.RegionModel`."""

    def __init__(self, card: ModelCard, identity: ModelIdentity, network: Network, scope: ScopeModel) -> None:
        self.card = card
        self.identity = identity
        self._network = network
        self._scope = scope

    def read(self, image: Grey) -> NetworkReading:
        """Run the network on an image ``(H, W)`` uint8, bones bright, of any size."""
        return self._network.read(image)

    def interpret(self, reading: NetworkReading) -> RegionReading:
        """The region, and how much the picture looks like a limb radiograph. Needs the reading's features."""
        logits = reading.logits[:, self.card.network.logits].mean(axis=0)
        probabilities = softmax(logits, self.card.calibration.temperature)
        return RegionReading(
            dict(zip(self.card.classes, map(float, probabilities), strict=True)),
            float(self._scope.score(reading.features[None])[0]),
        )


class FractureReader:
    """The fracture model of one region; a :class:`fractureai.domain.ports.FractureModel`."""

    def __init__(self, card: ModelCard, identity: ModelIdentity, network: Network) -> None:
        self.card = card
        self.identity = identity
        self._network = network

    @property
    def network(self) -> str:
        """Hash of the network's card; a reading of the same network need not be made twice."""
        return self._network.digest

    def read(self, image: Grey) -> NetworkReading:
        """Run the network on an image ``(H, W)`` uint8, bones bright, of any size."""
        return self._network.read(image)

    def interpret(self, reading: NetworkReading) -> FractureReading:
        """Calibrate a reading of this model's network."""
        column, calibration = self.card.network.logits[0], self.card.calibration
        peak = self._peak(reading)
        values = calibration.slope * reading.logits[:, column] + calibration.map_slope * peak + calibration.intercept
        return FractureReading(
            probability=sigmoid(float(values.mean())),
            spread=float(np.std([sigmoid(float(value)) for value in values])),
            attention=reading.attention[..., column],
            boxes=self._boxes(reading),
        )

    def _peak(self, reading: NetworkReading) -> float:
        channel = self.card.network.cells
        return 0.0 if channel is None or reading.cells is None else float(reading.cells[..., channel].max())

    def _boxes(self, reading: NetworkReading) -> tuple[Box, ...]:
        rule = self.card.localisation
        if rule is None:
            return ()
        found = places(reading, self.card.network.cells, rule.most)
        x_limit, y_limit = reading.placement.image_width_px, reading.placement.image_height_px
        boxes = np.clip(found.boxes, 0, [x_limit, y_limit, x_limit, y_limit])
        likely = [sigmoid(rule.slope * float(logit) + rule.intercept) for logit in found.logits]
        return tuple(
            Box((float(x0), float(y0), float(x1), float(y1)), probability)
            for (x0, y0, x1, y1), probability in zip(boxes, likely, strict=True)
            if probability >= rule.threshold
        )
