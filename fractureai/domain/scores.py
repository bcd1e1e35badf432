"""What the models say of one image, before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fractureai.domain.canvas import Placement

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model spoke: enough to find its card again."""

    name: str
    version: str
    card_sha256: str

    def to_json(self) -> dict[str, str]:
        """``name``, ``version``, ``card_sha256``."""
        return {"name": self.name, "version": self.version, "card_sha256": self.card_sha256}


@dataclass(frozen=True, slots=True)
class RegionReading:
    """What the region classifier says of an image.

    Attributes
    ----------
    probabilities:
        Calibrated, by region, summing to 1.
    scope_score:
        How familiar the picture looks; higher is more familiar. Compared with the card's threshold.
    """

    probabilities: Mapping[str, float]
    scope_score: float

    @property
    def name(self) -> str:
        """The most probable region."""
        return max(self.probabilities, key=lambda region: self.probabilities[region])

    @property
    def probability(self) -> float:
        """The probability of the most probable region."""
        return self.probabilities[self.name]


@dataclass(frozen=True, slots=True)
class Box:
    """A place on an image where a fracture may be.

    ``box_px``: ``x0 y0 x1 y1``, px of the image that was read, origin at the outer top-left corner.
    """

    box_px: tuple[float, float, float, float]
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class NetworkReading:
    """What a network says of an image, before any card interprets it; the means over the image's views.

    Attributes
    ----------
    network:
        Hash (hex) of the network's card.
    placement:
        How the image lay on the canvas.
    logits:
        ``(V, C)`` float32, a row a view.
    attention:
        ``(h, w, C)`` float32, closed-form Grad-CAM of each logit over the canvas, before the rectifier.
    features:
        ``(F,)`` float32, the pooled last feature map; empty where it was not kept.
    cells, sides:
        ``(2h, 2w, K)`` float32 logits and ``(2h, 2w, 4)`` float32 canvas px of the localisation head; ``None`` where
        the network has none.
    """

    network: str
    placement: Placement
    logits: Floats = field(repr=False)
    attention: Floats = field(repr=False)
    features: Floats = field(repr=False)
    cells: Floats | None = field(default=None, repr=False)
    sides: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class FractureReading:
    """What a fracture model says of an image.

    Attributes
    ----------
    probability:
        Calibrated.
    spread:
        Standard deviation of the probability over the views; 0 where there is one view.
    attention:
        ``(h, w)`` float32, closed-form Grad-CAM of the fracture logit over the canvas, before the rectifier.
    boxes:
        Where a fracture may be, most probable first; those the card finds worth showing.
    """

    probability: float
    spread: float
    attention: Floats = field(repr=False)
    boxes: tuple[Box, ...] = ()
