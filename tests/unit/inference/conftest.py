"""A tiny network in the shape of a shipped one, and folders of models made of it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import openvino.opset13 as ops
import pytest

from fractureai.inference.scope import ScopeModel, save_scope

SIZE_PX, CELLS, FEATURES = 64, 8, 6


def write_network(folder: Path, classes: int, *, seed: int = 0) -> None:
    """Cells of 8 px by 8 px, one convolution, a rectifier, global average pooling, one dense layer."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(FEATURES, 1, 8, 8)).astype(np.float32) / 64
    weights = rng.normal(size=(FEATURES, classes)).astype(np.float32) / 10
    image = ops.parameter([-1, SIZE_PX, SIZE_PX, 1], np.float32, name="image")
    channels_first = ops.transpose(image, ops.constant([0, 3, 1, 2]))
    maps = ops.relu(ops.convolution(channels_first, ops.constant(kernel), [8, 8], [0, 0], [0, 0], [1, 1]))
    features = ops.reduce_mean(maps, ops.constant([2, 3]), keep_dims=False)
    logits = ops.matmul(features, ops.constant(weights), False, False)
    last = ops.transpose(maps, ops.constant([0, 2, 3, 1]))
    attention = ops.matmul(last, ops.constant(weights / CELLS**2), False, False)
    model = openvino.Model([logits, attention, features], [image], "tiny")
    model.inputs[0].get_tensor().set_names({"image"})
    for port, name in zip(model.outputs, ("logits", "attention", "features"), strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def write_card(folder: Path, **changes: object) -> None:
    card = {
        "name": folder.name,
        "version": "1.0.0",
        "input": {"size_px": SIZE_PX, "test_time_flip": True},
        "intended_use": "tests",
        "limits": [],
        "licence": "Apache-2.0",
        "data": {"name": "none", "citation": "", "licence": ""},
        "training": {},
        "metrics": {},
        "files": {
            path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
            if path.name != "card.json"
        },
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


def write_fracture_model(root: Path, region: str, **changes: object) -> Path:
    folder = root / f"fracture-{region}"
    folder.mkdir(parents=True)
    write_network(folder, 1, seed=len(region))
    points = {"fracture": _point(0.6, "false_alarms"), "suspected": _point(0.4, "missed_fractures")}
    about = {"task": "fracture", "region": region, "classes": ["fracture"], "operating_points": points}
    calibration = {"method": "platt", "slope": 0.7, "intercept": -0.3}
    write_card(folder, **(about | {"calibration": calibration} | changes))
    return folder


def write_region_model(root: Path, classes: list[str], **changes: object) -> Path:
    folder = root / "region"
    folder.mkdir(parents=True)
    write_network(folder, len(classes))
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
    about = {"task": "region", "classes": classes, "scope": scope}
    calibration = {"method": "temperature", "temperature": 2.0}
    write_card(folder, **(about | {"calibration": calibration} | changes))
    return folder


@pytest.fixture(scope="session")
def _models_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_region_model(root, ["elbow", "hand"])
    write_fracture_model(root, "elbow")
    return root


@pytest.fixture
def models_folder(_models_once: Path, tmp_path: Path) -> Path:
    """A folder with ``region`` and ``fracture-elbow``, the test's own to damage."""
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
