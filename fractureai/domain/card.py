"""The model card: what a model is, what it was measured to do, and what must be known to use it.

``card.json`` lies beside the weights. It is the only place thresholds, class names and preprocessing are written down.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fractureai.errors import BrokenDeployment

_TRAINING_SUFFIXES = (".h5",)
"""Weights to train on from. They stay in the repository and are not installed; nothing that serves opens them."""

Probability = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Part):
    """What the network takes: a letterboxed square of grey values 0..255 (``fractureai.domain.canvas.fit``)."""

    size_px: int = Field(ge=32, le=2048)
    fit: Literal["letterbox"] = "letterbox"
    test_time_flip: bool = Field(default=False, description="average the readings of the image and its mirror image")


class Calibration(_Part):
    """How logits become probabilities (``fractureai.domain.calibration``)."""

    method: Literal["platt", "temperature"]
    slope: float = Field(default=1.0, gt=0, description="platt: factor of the logit")
    intercept: float = Field(default=0.0, description="platt: added to the scaled logit")
    temperature: float = Field(default=1.0, gt=0, description="temperature: divisor of the logits")
    fitted_on: str = ""
    images: int = 0


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


class WeightFile(_Part):
    """A file beside the card; its hash is checked before it is opened."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)


class DataSheet(_Part):
    """What the model was trained and measured on."""

    name: str
    citation: str
    licence: str
    images: dict[str, int] = Field(default_factory=dict, description="counts by split and class")
    remarks: list[str] = Field(default_factory=list)


class ModelCard(_Part):
    """One model of the product. Unknown keys are refused: a typo must not become a default."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    version: str
    task: Literal["region", "fracture"]
    region: str | None = None
    architecture: str = "EfficientNetB1"
    classes: list[str] = Field(min_length=1)
    input: InputSpec
    calibration: Calibration
    operating_points: OperatingPoints | None = None
    scope: ScopeRule | None = None
    files: dict[str, WeightFile]
    intended_use: str
    limits: list[str]
    licence: str
    data: DataSheet
    training: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def serving_files(self) -> dict[str, WeightFile]:
        """The files an installation needs to serve this model."""
        return {name: entry for name, entry in self.files.items() if not name.endswith(_TRAINING_SUFFIXES)}

    @model_validator(mode="after")
    def _complete(self) -> ModelCard:
        if self.task == "region" and (self.scope is None or self.region is not None or len(self.classes) < 2):
            raise ValueError("a region card needs a scope rule, at least two classes and no region")
        if self.task == "fracture" and (self.operating_points is None or self.region is None):
            raise ValueError("a fracture card needs a region and two operating points")
        return self


def parse_card(text: bytes) -> tuple[ModelCard, str]:
    """Read ``card.json``.

    Returns
    -------
    The card and the sha256 (hex) of its bytes, by which outputs name it.

    Raises
    ------
    BrokenDeployment
        If the text is not a valid card; the message names the field.
    """
    try:
        card = ModelCard.model_validate(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as error:
        raise BrokenDeployment(f"the model card is not valid: {error}") from error
    return card, hashlib.sha256(text).hexdigest()
