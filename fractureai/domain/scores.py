"""What the models say of one image, before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


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


@dataclass(frozen=True, slots=True, eq=False)
class FractureReading:
    """What a fracture model says of an image.

    Attributes
    ----------
    probability:
        Calibrated.
    attention:
        ``(h, w)`` float32, closed-form Grad-CAM of the fracture logit over the square canvas, before the rectifier.
    spread:
        Standard deviation of the probability under small changes of the image; 0 where the card asks for none.
    """

    probability: float
    attention: npt.NDArray[np.float32] = field(repr=False)
    spread: float = 0.0
