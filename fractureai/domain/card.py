"""Cards: what a network and a model are, what they were measured to do, and what must be known to use them.

A *network* is weights and a graph (``network.json`` beside them): picture in, numbers out. A *model* (``card.json``)
says which of the numbers mean what: classes, calibration, thresholds. Models that name the same network share its
file, its memory and its pass. The cards are the only place thresholds, class names and preprocessing are written
down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fractureai.domain.canvas import Canvas
from fractureai.errors import BrokenDeployment

CARD_FILE, NETWORK_FILE = "card.json", "network.json"
"""What the card of a model and that of a network are called in their folders."""

_TRAINING_SUFFIXES = (".h5",)
"""Weights to train on from. They stay in the repository and are not installed; nothing that serves opens them."""

Probability = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Part):
    """What the network takes: an upright canvas of grey values 0..255 (``fractureai.domain.canvas``)."""

    height_px: int = Field(ge=32, le=2048)
    width_px: int = Field(ge=32, le=2048)
    fit: Literal["limb"] = Field(default="limb", description="the anatomy, cut out, upright and stretched")
    second_view: Literal["none", "turned", "mirrored"] = Field(
        default="none", description="also read the canvas turned by 180°, or its mirror image, and average"
    )

    @property
    def canvas(self) -> Canvas:
        """The canvas."""
        return Canvas(self.height_px, self.width_px)


class WeightFile(_Part):
    """A file beside a card; its hash is checked before it is opened."""

    sha256: Digest
    size_bytes: int = Field(ge=1)


class NetworkCard(_Part):
    """``network.json``: the weights that one or several models share."""

    schema_version: Literal[2] = 2
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    version: str
    architecture: str = "EfficientNetB1"
    input: InputSpec
    outputs: list[str] = Field(min_length=1, description="what each logit means, in the order of the graph")
    localised: list[str] = Field(default_factory=list, description="what each channel of the localisation map means")
    files: dict[str, WeightFile]
    initial_weights: str = Field(default="random", description="what the training began from")
    licence: str
    training: dict[str, Any] = Field(default_factory=dict)


class NetworkUse(_Part):
    """Which network a model reads with, and which of its numbers are the model's."""

    name: str
    sha256: Digest = Field(description="of the network's card")
    logits: list[int] = Field(min_length=1, description="columns of the logits, in the order of the classes")
    cells: int | None = Field(default=None, description="channel of the localisation map")


class Calibration(_Part):
    """How numbers of the network become probabilities (``fractureai.domain.calibration``)."""

    method: Literal["platt", "temperature"]
    slope: float = Field(default=1.0, ge=0, description="platt: factor of the logit")
    map_slope: float = Field(default=0.0, ge=0, description="platt: factor of the localisation map's peak")
    intercept: float = Field(default=0.0, description="platt: added to the scaled numbers")
    temperature: float = Field(default=1.0, gt=0, description="temperature: divisor of the logits")
    fitted_on: str = ""
    images: int = 0

    @model_validator(mode="after")
    def _says_something(self) -> Calibration:
        if self.slope + self.map_slope == 0:
            raise ValueError("the logit or the map's peak must count")
        return self


class Localisation(_Part):
    """Which boxes are worth showing, and how probable each is: ``sigmoid(slope * logit + intercept)``."""

    slope: float = Field(gt=0)
    intercept: float
    threshold: Probability = Field(description="boxes less probable than this are not shown")
    most: int = Field(default=5, ge=1, le=20, description="boxes shown at the most")
    fitted_on: str = ""


class OperatingPoint(_Part):
    """A threshold on the calibrated probability, and the rate it was set for.

    ``rate`` is what was bounded (``missed_fractures``: share of fractures below the threshold; ``false_alarms``: share
    of normal images at or above it), ``bound`` the level, ``confidence`` the probability with which the bound holds
    for data like that it was set on, ``observed`` the rate on that data.
    """

    threshold: Probability
    rate: Literal["missed_fractures", "false_alarms"]
    bound: Probability
    confidence: Probability
    observed: Probability
    images: int
    method: str = ""


class OperatingPoints(_Part):
    """The two thresholds of a fracture model: at or above ``fracture``; between; below ``suspected``."""

    fracture: OperatingPoint
    suspected: OperatingPoint

    @model_validator(mode="after")
    def _ordered(self) -> OperatingPoints:
        if self.suspected.threshold > self.fracture.threshold:
            raise ValueError("the threshold for 'suspected' must not be above the one for 'fracture'")
        return self


class ScopeRule(_Part):
    """When a picture counts as a limb radiograph like those the classifier knows.

    The score of ``file`` (higher is more familiar) must reach ``threshold``, and the probability of the best region
    ``min_region_probability``.
    """

    file: str
    method: str
    threshold: float
    min_region_probability: Probability
    accepted_share: Probability = Field(description="share of held-out limb radiographs the rule accepts")


class DataSheet(_Part):
    """What the model was trained and measured on."""

    name: str
    citation: str
    licence: str
    images: dict[str, int] = Field(default_factory=dict, description="counts by split and class")
    remarks: list[str] = Field(default_factory=list)


class ModelCard(_Part):
    """One model of the product. Unknown keys are refused: a typo must not become a default."""

    schema_version: Literal[2] = 2
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    version: str
    task: Literal["region", "fracture"]
    region: str | None = None
    classes: list[str] = Field(min_length=1)
    network: NetworkUse
    calibration: Calibration
    operating_points: OperatingPoints | None = None
    localisation: Localisation | None = None
    scope: ScopeRule | None = None
    files: dict[str, WeightFile] = Field(default_factory=dict)
    intended_use: str
    limits: list[str]
    licence: str
    data: DataSheet
    training: dict[str, Any]
    metrics: dict[str, Any]

    @model_validator(mode="after")
    def _complete(self) -> ModelCard:
        if self.task == "region" and (self.scope is None or self.region is not None or len(self.classes) < 2):
            raise ValueError("a region card needs a scope rule, at least two classes and no region")
        if self.task == "fracture" and (self.operating_points is None or self.region is None):
            raise ValueError("a fracture card needs a region and two operating points")
        if len(self.network.logits) != len(self.classes):
            raise ValueError("a card names a logit for each class")
        if (self.localisation is None) != (self.network.cells is None):
            raise ValueError("a card with a localisation map says which channel, and how probable its boxes are")
        return self


def in_a_hundred(figures: Mapping[str, Any]) -> str:
    """What a user asks first, as a sentence: errors among 100 images, from a fracture model's figures of one split.

    Empty where they were not measured.
    """
    found = figures.get("of_a_hundred")
    if not isinstance(found, Mapping) or None in found.values():
        return ""
    flagged, missed, wrong = (
        f"{found[name]:.1f}".removesuffix(".0") for name in ("normal_flagged", "fractured_missed", "no_fracture_wrong")
    )
    return (
        f"Of 100 normal images {flagged} are flagged; of 100 fractured ones {missed} are missed; of 100 called "
        f'"no fracture" {wrong} are fractured.'
    )


def serving_files(files: Mapping[str, WeightFile]) -> dict[str, WeightFile]:
    """The files of a card that an installation needs to serve."""
    return {name: entry for name, entry in files.items() if not name.endswith(_TRAINING_SUFFIXES)}


Card = TypeVar("Card", ModelCard, NetworkCard)


def parse_card(text: bytes, kind: type[Card]) -> tuple[Card, str]:
    """Read ``card.json`` (``ModelCard``) or ``network.json`` (``NetworkCard``).

    Returns
    -------
    The card and the sha256 (hex) of its bytes, by which outputs and other cards name it.

    Raises
    ------
    BrokenDeployment
        If the text is not a valid card; the message names the field.
    """
    try:
        card = kind.model_validate(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as error:
        raise BrokenDeployment(f"the card is not valid: {error}") from error
    return card, hashlib.sha256(text).hexdigest()
