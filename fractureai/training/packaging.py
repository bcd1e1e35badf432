"""Folders of ``models/`` from a training: the network with its graph and weights, and a model for each of its
decisions.

Calibration and measuring fill in the models' cards afterwards.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fractureai.domain.card import NETWORK_FILE, InputSpec, ModelCard, NetworkCard
from fractureai.inference.scope import ScopeModel, save_scope
from fractureai.training import export
from fractureai.training import network as net
from fractureai.training.architecture import FEATURES, NetworkSpec
from fractureai.training.card_files import file_entry, write_card
from fractureai.training.datasets.fracatlas import CITATION
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
    """What is known of a network when its weights are ready.

    Attributes
    ----------
    name:
        Of the network's folder. The models' folders are ``region`` and ``fracture-<region>``.
    outputs, localised:
        As in the network's card. An output is called ``region <name>`` or ``fracture <name>``.
    images:
        Counts for the cards, by region; ``None`` for all of them.
    limits:
        Sentences behind those that hold for every model of this recipe.
    """

    name: str
    version: str
    input: InputSpec
    outputs: tuple[str, ...]
    localised: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    data_name: str = "FracAtlas"
    data_citation: str = CITATION
    data_licence: str = "CC BY 4.0"
    images: Mapping[str | None, Mapping[str, int]] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    initial_weights: str = "random"
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> NetworkSpec:
        """The network's shape."""
        return NetworkSpec(self.outputs, self.localised, self.input.height_px, self.input.width_px)


def package(weights: Path, what: Package, folder: Path) -> list[Path]:
    """Write the network's folder and those of its models, and return them.

    Calibration is the identity, thresholds let nothing be called normal or fractured, and the scope rule accepts every
    picture: fit them with ``fractureai models calibrate`` and ``fit-scope`` before use.
    """
    digest = _write_network(weights, what, folder / what.name)
    written = [folder / what.name]
    for name, card in _models(what, digest).items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        if card["task"] == "region":
            save_scope(target / SCOPE_FILE, _accepts_everything())
            card["files"] = {SCOPE_FILE: file_entry(target / SCOPE_FILE)}
        write_card(target, ModelCard.model_validate(card))
        written.append(target)
    return written


def image_counts(dataset: Dataset) -> dict[str | None, dict[str, int]]:
    """How many images each part holds, for the cards: of one region by label, and of all by region (``None``)."""
    found = Counter((sample.split, sample.region, sample.fractured) for sample in dataset.samples)
    kinds = (("normal", False), ("fractured", True))
    counts: dict[str | None, dict[str, int]] = {
        region: {f"{split} {kind}": found[split, region, label] for split in SPLITS for kind, label in kinds}
        for region in dataset.regions
    }
    counts[None] = {
        f"{split} {region}": sum(found[split, region, label] for _, label in kinds)
        for split in SPLITS
        for region in dataset.regions
    }
    return counts


def _write_network(weights: Path, what: Package, target: Path) -> str:
    network = net.build(what.spec)
    net.load_weights(network, weights)
    export.to_openvino(network, what.spec, target)
    net.save_weights(network, target / export.KERAS_WEIGHTS)
    names = (export.IR_XML, export.IR_BIN, export.KERAS_WEIGHTS)
    card = NetworkCard.model_validate(
        {
            "name": what.name,
            "version": what.version,
            "input": what.input.model_dump(),
            "outputs": list(what.outputs),
            "localised": list(what.localised),
            "files": {name: file_entry(target / name) for name in names},
            "initial_weights": what.initial_weights,
            "licence": what.licence,
            "training": dict(what.training),
        }
    )
    write_card(target, card)
    return hashlib.sha256((target / NETWORK_FILE).read_bytes()).hexdigest()


def _models(what: Package, digest: str) -> dict[str, dict[str, Any]]:
    """The cards of the models, by name, without files."""
    columns = {name: column for column, name in enumerate(what.outputs)}
    regions = [name.removeprefix("region ") for name in what.outputs if name.startswith("region ")]
    cards: dict[str, dict[str, Any]] = {}
    if regions:
        cards["region"] = _card(what, digest, None, regions, [columns[f"region {name}"] for name in regions])
    for name, column in columns.items():
        if name.startswith("fracture "):
            region = name.removeprefix("fracture ")
            cards[f"fracture-{region}"] = _card(what, digest, region, ["fracture"], [column])
    return cards


def _card(
    what: Package, digest: str, region: str | None, classes: Sequence[str], logits: Sequence[int]
) -> dict[str, Any]:
    task = "region" if region is None else "fracture"
    channel = what.localised.index(region) if region in what.localised else None
    card: dict[str, Any] = {
        "name": task if region is None else f"{task}-{region}",
        "version": what.version,
        "task": task,
        "region": region,
        "classes": list(classes),
        "network": {"name": what.name, "sha256": digest, "logits": list(logits), "cells": channel},
        "intended_use": _INTENDED[task],
        "limits": [*_LIMITS, *what.limits],
        "licence": what.licence,
        "data": {
            "name": what.data_name,
            "citation": what.data_citation,
            "licence": what.data_licence,
            "images": dict(what.images.get(region, {})),
            "remarks": [
                "Phantoms drawn by this product, and drawn pictures that are no limbs, were added to the training "
                "pictures.",
            ],
        },
        "training": {},
        "metrics": {},
    }
    if region is None:
        rule = {"file": SCOPE_FILE, "method": "none yet", "threshold": -1e6, "min_region_probability": 0.5}
        unset = {"method": "temperature", "temperature": 1.0, "fitted_on": "nothing yet"}
        return card | {"calibration": unset, "scope": rule | {"accepted_share": 1.0}}
    points = {"fracture": _unset("false_alarms", 1.0), "suspected": _unset("missed_fractures", 0.0)}
    card |= {"calibration": {"method": "platt", "fitted_on": "nothing yet"}, "operating_points": points}
    if channel is not None:
        card["localisation"] = {"slope": 1.0, "intercept": 0.0, "threshold": 0.5, "fitted_on": "nothing yet"}
    return card


def _unset(rate: str, threshold: float) -> dict[str, Any]:
    return {"threshold": threshold, "rate": rate, "bound": 1.0, "confidence": 0.0, "observed": 0.0, "images": 0,
            "method": "not set"}  # fmt: skip


def _accepts_everything() -> ScopeModel:
    zeros = np.zeros((FEATURES, 1), np.float32)
    return ScopeModel(zeros[:, 0], zeros, zeros, np.zeros((1, 1), np.float32), neighbours=1, residual_scale=1.0)
