"""A folder of ``models/`` from trained weights: graph, weights, and a card that calibration and measuring fill in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fractureai.domain.card import parse_card
from fractureai.inference.scope import ScopeModel, save_scope
from fractureai.training import export
from fractureai.training import network as net
from fractureai.training.datasets.values import SPLITS, Dataset

SCOPE_FILE = "scope.npz"
_INTENDED = {
    "region": "Tells which limb region a radiograph shows, to choose the fracture model. Assists a reader; not for "
    "diagnostic use.",
    "fracture": "Points a reader to radiographs of this region that may show a fracture. Assists a reader; not for "
    "diagnostic use.",
}
_LIMITS = [
    "Trained and measured on one published collection from three hospitals; expect less on other devices and patients.",
    "No patient identifiers are published: training and test are kept apart by blocks of neighbouring numbers.",
    "Small and undisplaced fractures, children's growth plates, casts and hardware are where it errs most.",
    "The attention map shows what moved the score. It is not a detection box.",
    "Drawn phantoms were among the training pictures; they are counted in no metric.",
]


@dataclass(frozen=True, slots=True)
class Package:
    """What is known of a model when its weights are ready.

    ``region`` is ``None`` for the classifier of regions. ``training`` and ``images`` go into the card as they are,
    ``limits`` behind those that hold for every model of this recipe.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    size_px: int
    region: str | None = None
    test_time_flip: bool = False
    licence: str = "Apache-2.0"
    data_name: str = "FracAtlas"
    data_citation: str = export.CITATION
    data_licence: str = "CC BY 4.0"
    images: Mapping[str, int] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """``region`` or ``fracture``."""
        return "region" if self.region is None else "fracture"


def package(weights: Path, what: Package, folder: Path) -> Path:
    """Write ``folder/<name>/``: ``model.xml``, ``model.bin``, ``weights.h5`` and ``card.json``.

    Calibration is the identity, thresholds let nothing be called normal or fractured, and the scope rule accepts every
    picture: fit them with ``fractureai models calibrate`` and ``fit-scope`` before use.
    """
    target = folder / what.name
    target.mkdir(parents=True, exist_ok=True)
    network = net.build(net.NetworkSpec(what.classes))
    net.load_weights(network, weights)
    export.to_openvino(network, what.size_px, target)
    net.save_weights(network, target / export.KERAS_WEIGHTS)
    if what.task == "region":
        save_scope(target / SCOPE_FILE, _accepts_everything())
    export.write_card(target, _card(what))
    parse_card((target / export.CARD).read_bytes())
    return target


def image_counts(dataset: Dataset, region: str | None) -> dict[str, int]:
    """How many images each part holds, for the card: by region, or of one region by label."""
    own = [sample for sample in dataset.samples if region in (None, sample.region)]
    kinds = dataset.regions if region is None else ("normal", "fractured")
    found = Counter((sample.split, sample.region if region is None else kinds[sample.fractured]) for sample in own)
    return {f"{split} {kind}": found[split, kind] for split in SPLITS for kind in kinds}


def _card(what: Package) -> dict[str, Any]:
    card: dict[str, Any] = {
        "schema_version": 1,
        "name": what.name,
        "version": what.version,
        "task": what.task,
        "region": what.region,
        "architecture": "EfficientNetB1",
        "classes": list(what.classes),
        "input": {"size_px": what.size_px, "fit": "letterbox", "test_time_flip": what.test_time_flip},
        "intended_use": _INTENDED[what.task],
        "limits": [*_LIMITS, *what.limits],
        "licence": what.licence,
        "data": {
            "name": what.data_name,
            "citation": what.data_citation,
            "licence": what.data_licence,
            "images": dict(what.images),
            "remarks": [
                "Phantoms drawn by this product, and drawn pictures that are no limbs, were added to the training "
                "pictures.",
            ],
        },
        "training": dict(what.training),
        "metrics": {},
    }
    if what.task == "region":
        card["calibration"] = {"method": "temperature", "temperature": 1.0, "fitted_on": "nothing yet"}
        card["scope"] = {
            "file": SCOPE_FILE,
            "method": "none yet",
            "threshold": -1e6,
            "min_region_probability": 0.5,
            "accepted_share": 1.0,
        }
    else:
        card["calibration"] = {"method": "platt", "fitted_on": "nothing yet"}
        card["operating_points"] = {
            "fracture": _unset("false_alarms", 1.0),
            "suspected": _unset("missed_fractures", 0.0),
        }
    return card


def _unset(rate: str, threshold: float) -> dict[str, Any]:
    return {"threshold": threshold, "rate": rate, "bound": 1.0, "confidence": 0.0, "observed": 0.0, "images": 0,
            "method": "not set"}  # fmt: skip


def _accepts_everything() -> ScopeModel:
    zeros = np.zeros((net.FEATURES, 1), np.float32)
    return ScopeModel(zeros[:, 0], zeros, zeros, np.zeros((1, 1), np.float32), neighbours=1, residual_scale=1.0)
