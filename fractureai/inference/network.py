"""A network with its card: from an image to what the network says of it, averaged over its views."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import lay, place
from fractureai.domain.card import NetworkCard
from fractureai.domain.localisation import turned_back
from fractureai.domain.scores import NetworkReading
from fractureai.errors import BrokenDeployment
from fractureai.inference.engine import Engine, EngineOutput

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
View = Literal["turned", "mirrored"]


class Network:
    """Reads images; models interpret what it says.

    Parameters
    ----------
    digest:
        Hash (hex) of the card.
    """

    def __init__(self, card: NetworkCard, digest: str, engine: Engine) -> None:
        self.card = card
        self.digest = digest
        self._engine = engine

    def read(self, image: Grey) -> NetworkReading:
        """Run the network on an image ``(H, W)`` uint8, bones bright, of any size, and on its second view."""
        placement = place(image, self.card.input.canvas)
        canvas = lay(image, placement)
        views = [self._infer(canvas)]
        second = self.card.input.second_view
        if second != "none":
            views.append(_back(self._infer(_changed(canvas, second)), second))
        return NetworkReading(
            network=self.digest,
            placement=placement,
            logits=np.concatenate([view.logits for view in views]),
            attention=_mean([view.attention[0] for view in views]),
            features=_mean([view.features[0] for view in views]),
            cells=_mean([view.cells[0] for view in views if view.cells is not None]) if self.card.localised else None,
            sides=_mean([view.sides[0] for view in views if view.sides is not None]) if self.card.localised else None,
        )

    def _infer(self, canvas: Floats) -> EngineOutput:
        output = self._engine.infer(canvas[None, :, :, None])
        if output.logits.shape[1] != len(self.card.outputs):
            raise BrokenDeployment(
                f"network {self.card.name} gives {output.logits.shape[1]} logits, its card names "
                f"{len(self.card.outputs)}; install it again"
            )
        return output


def _changed(canvas: Floats, view: View) -> Floats:
    return np.ascontiguousarray(canvas[::-1, ::-1] if view == "turned" else canvas[:, ::-1])


def _back(output: EngineOutput, view: View) -> EngineOutput:
    """Lay a view's maps on the grid of the first."""
    flipped = (slice(None), slice(None, None, -1), slice(None, None, -1)) if view == "turned" else (
        slice(None), slice(None), slice(None, None, -1))  # fmt: skip
    cells, sides = output.cells, output.sides
    if cells is not None and sides is not None:
        cells = cells[flipped]
        sides = turned_back(sides[0])[None] if view == "turned" else sides[flipped][..., [2, 1, 0, 3]]
    return EngineOutput(output.logits, output.attention[flipped], output.features, cells, sides)


def _mean(maps: list[Floats]) -> Floats:
    return np.mean(maps, axis=0, dtype=np.float32)
