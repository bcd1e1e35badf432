"""A tiny network in the shape of a shipped one, and folders of models made of it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino
import openvino.opset13 as ops
import pytest

from fractureai.inference.scope import ScopeModel, save_scope

HEIGHT_PX, WIDTH_PX, CELL_PX, FEATURES = 96, 64, 8, 6
ROWS, COLUMNS = HEIGHT_PX // CELL_PX, WIDTH_PX // CELL_PX
OUTPUTS = ["region elbow", "region hand", "fracture elbow", "fracture hand"]
LOCALISED = ["elbow", "hand"]


def write_graph(folder: Path, classes: int, localised: int, *, seed: int = 0) -> None:
    """Cells of 8 px by 8 px, one convolution, a rectifier, global average pooling, one dense layer; boxes of 16 px."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(FEATURES, 1, 8, 8)).astype(np.float32) / 64
    weights = rng.normal(size=(FEATURES, classes)).astype(np.float32) / 10
    image = ops.parameter([-1, HEIGHT_PX, WIDTH_PX, 1], np.float32, name="image")
    channels_first = ops.transpose(image, ops.constant([0, 3, 1, 2]))
    maps = ops.relu(ops.convolution(channels_first, ops.constant(kernel), [8, 8], [0, 0], [0, 0], [1, 1]))
    features = ops.reduce_mean(maps, ops.constant([2, 3]), keep_dims=False)
    last = ops.transpose(maps, ops.constant([0, 2, 3, 1]))
    outputs = {
        "logits": ops.matmul(features, ops.constant(weights), False, False),
        "attention": ops.matmul(last, ops.constant(weights / (ROWS * COLUMNS)), False, False),
        "features": features,
    }
    if localised:
        outputs["cells"] = ops.matmul(last, ops.constant(weights[:, :localised]), False, False)
        nothing = ops.constant(np.zeros((FEATURES, 4), np.float32))
        outputs["sides"] = ops.add(ops.matmul(last, nothing, False, False), ops.constant(np.float32([8, 8, 8, 8])))
    model = openvino.Model(list(outputs.values()), [image], "tiny")
    model.inputs[0].get_tensor().set_names({"image"})
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def write_network(
    folder: Path, outputs: Sequence[str], localised: Sequence[str] = (), *, seed: int = 0, **changes: object
) -> str:
    """A network with its card; returns the hash of the card."""
    write_graph(folder, len(outputs), len(localised), seed=seed)
    card = {
        "name": folder.name,
        "version": "1.0.0",
        "input": {"height_px": HEIGHT_PX, "width_px": WIDTH_PX, "second_view": "turned"},
        "outputs": list(outputs),
        "localised": list(localised),
        "files": files_of(folder, "network.json"),
        "licence": "Apache-2.0",
    }
    text = json.dumps(card | changes).encode()
    (folder / "network.json").write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def files_of(folder: Path, *without: str) -> dict[str, dict[str, object]]:
    """What a card says of the files beside it."""
    return {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name not in without
    }


def write_card(folder: Path, **changes: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "name": folder.name,
        "version": "1.0.0",
        "intended_use": "tests",
        "limits": [],
        "licence": "Apache-2.0",
        "data": {"name": "none", "citation": "", "licence": ""},
        "training": {},
        "metrics": {},
        "files": files_of(folder, "card.json"),
    }
    (folder / "card.json").write_text(json.dumps(card | changes))


def _point(threshold: float, rate: str) -> dict[str, object]:
    return {
        "threshold": threshold,
        "rate": rate,
        "bound": 0.1,
        "confidence": 0.9,
        "observed": 0.1,
        "images": 10,
    }


def write_fracture_model(root: Path, region: str, network: dict[str, object], **changes: object) -> None:
    points = {"fracture": _point(0.6, "false_alarms"), "suspected": _point(0.4, "missed_fractures")}
    about = {
        "task": "fracture",
        "region": region,
        "classes": ["fracture"],
        "network": network,
        "operating_points": points,
        "calibration": {"method": "platt", "slope": 0.7, "intercept": -0.3},
    }
    if network.get("cells") is not None:
        about["calibration"] |= {"map_slope": 0.2}
        about["localisation"] = {"slope": 1.0, "intercept": 0.0, "threshold": 0.0, "most": 3}
    write_card(root / f"fracture-{region}", **(about | changes))


def write_region_model(root: Path, classes: list[str], network: dict[str, object], **changes: object) -> None:
    folder = root / "region"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(FEATURES, 2)).astype(np.float32)
    axes, _ = np.linalg.qr(basis)
    bank = rng.normal(size=(20, 2)).astype(np.float32)
    save_scope(
        folder / "scope.npz",
        ScopeModel(np.zeros(FEATURES, np.float32), basis, axes.astype(np.float32), bank, 3, 1.0),
    )
    scope = {
        "file": "scope.npz",
        "method": "test",
        "threshold": -9.0,
        "min_region_probability": 0.5,
        "accepted_share": 0.95,
    }
    calibration = {"method": "temperature", "temperature": 2.0}
    about = {"task": "region", "classes": classes, "network": network, "scope": scope, "calibration": calibration}
    write_card(folder, **(about | changes))


@pytest.fixture(scope="session")
def _models_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    shared = {"name": "limbs", "sha256": write_network(root / "limbs", OUTPUTS, LOCALISED)}
    write_region_model(root, ["elbow", "hand"], shared | {"logits": [0, 1]})
    write_fracture_model(root, "elbow", shared | {"logits": [2], "cells": 0})
    own = {"name": "site-hand", "sha256": write_network(root / "site-hand", ["fracture hand"], seed=7)}
    write_fracture_model(root, "hand", own | {"logits": [0]})
    return root


@pytest.fixture
def models_folder(_models_once: Path, tmp_path: Path) -> Path:
    """The test's own to damage: ``region`` and ``fracture-elbow`` share a network, ``fracture-hand`` has its own."""
    target = tmp_path / "models"
    for source in _models_once.rglob("*.*"):
        copy = target / source.relative_to(_models_once)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    return target


@pytest.fixture
def radiograph() -> Callable[..., np.ndarray]:
    def draw(height_px: int = 90, width_px: int = 64, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height_px, width_px), np.uint8)

    return draw
