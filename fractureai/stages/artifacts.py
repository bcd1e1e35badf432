"""What the stages hand each other through the store, as JSON with a fixed form.

Canonical JSON (sorted keys, no spaces), so that a stage that runs twice writes the same bytes.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain import keys
from fractureai.domain.canvas import Placement
from fractureai.domain.ports import ObjectStore
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import Reason
from fractureai.domain.result import FractureFinding
from fractureai.domain.scores import Box as FractureBox
from fractureai.domain.scores import ModelIdentity, NetworkReading
from fractureai.domain.study import Study
from fractureai.errors import TransientFailure

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ClassifiedImage:
    """What ``classify`` found; ``header`` is ``None`` where the file could not be read.

    Attributes
    ----------
    notes, obstacles:
        Remarks and contradictions; why it must not be assessed.
    set_aside:
        Why it need not be assessed: another image of the study is assessed instead.
    dicom_context:
        That of :class:`fractureai.domain.radiograph.Radiograph`.
    """

    number: int
    header: Header | None
    height_px: int
    width_px: int
    source_height_px: int
    source_width_px: int
    pixel_spacing_mm: tuple[float, float] | None
    probabilities: Mapping[str, float]
    scope_score: float | None
    notes: tuple[Reason, ...]
    obstacles: tuple[Reason, ...]
    dicom_context: bytes = field(default=b"", repr=False)
    set_aside: Reason | None = None

    @property
    def region(self) -> str | None:
        """The most probable region, if the file could be read."""
        return max(self.probabilities, key=lambda name: self.probabilities[name]) if self.probabilities else None

    @property
    def in_scope(self) -> bool:
        """Whether a fracture model reads it."""
        return self.header is not None and not self.obstacles and self.set_aside is None

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``classification.json``."""
        return {
            "number": self.number,
            "header": self.header and self.header.to_json(),
            "size_px": [self.height_px, self.width_px],
            "source_px": [self.source_height_px, self.source_width_px],
            "pixel_spacing_mm": self.pixel_spacing_mm and list(self.pixel_spacing_mm),
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
            "scope_score": None if self.scope_score is None else round(self.scope_score, 6),
            "notes": [reason.to_json() for reason in self.notes],
            "obstacles": [reason.to_json() for reason in self.obstacles],
            "dicom_context": base64.b64encode(self.dicom_context).decode(),
            "set_aside": self.set_aside and self.set_aside.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClassifiedImage:
        """Read what :meth:`to_json` wrote."""
        spacing = data["pixel_spacing_mm"]
        return cls(
            number=data["number"],
            header=Header.from_json(data["header"]) if data["header"] else None,
            height_px=data["size_px"][0],
            width_px=data["size_px"][1],
            source_height_px=data["source_px"][0],
            source_width_px=data["source_px"][1],
            pixel_spacing_mm=(spacing[0], spacing[1]) if spacing else None,
            probabilities=data["probabilities"],
            scope_score=data["scope_score"],
            notes=tuple(Reason.from_json(entry) for entry in data["notes"]),
            obstacles=tuple(Reason.from_json(entry) for entry in data["obstacles"]),
            dicom_context=base64.b64decode(data.get("dicom_context", "")),
            set_aside=Reason.from_json(data["set_aside"]) if data.get("set_aside") else None,
        )


@dataclass(frozen=True, slots=True)
class Classification:
    """``classification.json``. ``notes`` are of the study as a whole."""

    images: tuple[ClassifiedImage, ...]
    model: ModelIdentity
    notes: tuple[Reason, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The whole file."""
        return {
            "images": [image.to_json() for image in self.images],
            "model": self.model.to_json(),
            "notes": [reason.to_json() for reason in self.notes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Classification:
        """Read what :meth:`to_json` wrote."""
        images = tuple(ClassifiedImage.from_json(entry) for entry in data["images"])
        notes = tuple(Reason.from_json(entry) for entry in data.get("notes", ()))
        return cls(images, ModelIdentity(**data["model"]), notes)


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Where a model's evidence is: ``(h, w)`` uint8, 255 at the peak, over the canvas the image was placed on."""

    steps: npt.NDArray[np.uint8]
    placement: Placement

    def to_json(self) -> dict[str, Any]:
        """Part of ``detection.json``. 256 steps are plenty for a map that is shown, not measured."""
        packed = base64.b64encode(np.ascontiguousarray(self.steps).tobytes()).decode()
        return {"cells": list(self.steps.shape), "steps": packed, "placement": self.placement.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Attention:
        """Read what :meth:`to_json` wrote."""
        steps = np.frombuffer(base64.b64decode(data["steps"]), np.uint8).reshape(data["cells"])
        return cls(steps, Placement.from_json(data["placement"]))


@dataclass(frozen=True, slots=True, eq=False)
class DetectedImage:
    """What ``detect`` found on an image in scope. ``obstacle`` names why a region has no model.

    ``boxes`` are on the grid of the normalised image, most probable first.
    """

    number: int
    probability: float | None
    spread: float
    thresholds: tuple[float, float] | None
    model: ModelIdentity | None
    boxes: tuple[FractureBox, ...] = ()
    attention: Attention | None = None
    obstacle: Reason | None = None

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``detection.json``."""
        return {
            "number": self.number,
            "probability": None if self.probability is None else round(self.probability, 6),
            "spread": round(self.spread, 6),
            "thresholds": self.thresholds and list(self.thresholds),
            "model": self.model and self.model.to_json(),
            "boxes": [[*(round(side, 2) for side in box.box_px), round(box.probability, 6)] for box in self.boxes],
            "attention": self.attention and self.attention.to_json(),
            "obstacle": self.obstacle and self.obstacle.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DetectedImage:
        """Read what :meth:`to_json` wrote."""
        thresholds = data["thresholds"]
        return cls(
            number=data["number"],
            probability=data["probability"],
            spread=data["spread"],
            thresholds=(thresholds[0], thresholds[1]) if thresholds else None,
            model=ModelIdentity(**data["model"]) if data["model"] else None,
            boxes=tuple(FractureBox((x0, y0, x1, y1), likely) for x0, y0, x1, y1, likely in data["boxes"]),
            attention=Attention.from_json(data["attention"]) if data["attention"] else None,
            obstacle=Reason.from_json(data["obstacle"]) if data["obstacle"] else None,
        )


@dataclass(frozen=True, slots=True)
class ExplainedImage:
    """What ``explain`` made of an assessed image: findings and region of interest on the source grid, and which
    pictures exist.
    """

    number: int
    findings: tuple[FractureFinding, ...] = ()
    roi_px: Box | None = None
    heat: bool = False
    overlay: bool = False

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The names of its pictures."""
        there = {"heat": self.heat, "overlay": self.overlay, "roi": self.roi_px is not None}
        return tuple(name for name, exists in there.items() if exists)

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``explanation.json``."""
        return {
            "number": self.number,
            "findings": [finding.to_json() for finding in self.findings],
            "roi_px": self.roi_px and list(self.roi_px),
            "heat": self.heat,
            "overlay": self.overlay,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExplainedImage:
        """Read what :meth:`to_json` wrote."""
        findings = tuple(FractureFinding.from_json(entry) for entry in data["findings"])
        return cls(data["number"], findings, data["roi_px"] and tuple(data["roi_px"]), data["heat"], data["overlay"])


def write_json(store: ObjectStore, key: str, data: Any) -> None:
    """Store canonical JSON."""
    store.put(key, json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def read_bytes(store: ObjectStore, key: str) -> bytes:
    """Read an artifact an earlier stage wrote.

    Raises
    ------
    TransientFailure
        If it is not there: with an eventually consistent store it may come; without, the attempts run out.
    """
    try:
        return store.get(key)
    except KeyError as error:
        raise TransientFailure("artifact_missing", key.rsplit("/", 1)[-1]) from error


def read_json(store: ObjectStore, key: str) -> Any:
    """:func:`read_bytes`, parsed."""
    return json.loads(read_bytes(store, key))


def read_classification(store: ObjectStore, study: Study) -> Classification:
    """What ``classify`` wrote of a study."""
    return Classification.from_json(read_json(store, keys.classification_json(study.site, study.study_id)))


def write_reading(store: ObjectStore, key: str, reading: NetworkReading) -> None:
    """Store what later stages need of a network's reading, the same bytes for the same reading.

    Maps in half precision; the features stay behind, as only the region classifier looks at them.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"logits": reading.logits, "attention": reading.attention.astype(np.float16)}
    if reading.cells is not None and reading.sides is not None:
        arrays |= {"cells": reading.cells.astype(np.float16), "sides": reading.sides.astype(np.float16)}
    described = json.dumps({"network": reading.network, "placement": reading.placement.to_json()}, sort_keys=True)
    file = io.BytesIO()
    np.savez(file, described=np.array(described), allow_pickle=False, **arrays)
    store.put(key, file.getvalue())


def read_reading(store: ObjectStore, key: str) -> NetworkReading:
    """Read what :func:`write_reading` wrote; the features are empty. Raises as :func:`read_bytes`."""
    with np.load(io.BytesIO(read_bytes(store, key)), allow_pickle=False) as data:
        described = json.loads(str(data["described"]))
        cells, sides = (data[name].astype(np.float32) if name in data else None for name in ("cells", "sides"))
        return NetworkReading(
            network=described["network"],
            placement=Placement.from_json(described["placement"]),
            logits=data["logits"],
            attention=data["attention"].astype(np.float32),
            features=np.zeros(0, np.float32),
            cells=cells,
            sides=sides,
        )
