"""The shipped networks on a small canvas: all stages run, and what is loaded is the service around them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import openvino

_SHIPPED = Path(__file__).resolve().parents[1] / "models"
_CANVAS_PX = 64


def small_models(target: Path, *names: str) -> Path:
    """Write them, or those of some names, to ``target``; every picture is in scope.

    What they read there means nothing; promises about work are tried with them, not promises about fractures.
    """
    for source in sorted(path.parent for path in _SHIPPED.glob("*/card.json")):
        if not names or source.name in names:
            _small_model(source, target / source.name)
    return target


def _small_model(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    network = openvino.Core().read_model(source / "model.xml")
    network.reshape({"image": [-1, _CANVAS_PX, _CANVAS_PX, 1]})
    openvino.save_model(network, target / "model.xml")
    card = json.loads((source / "card.json").read_text())
    card["input"] |= {"size_px": _CANVAS_PX, "test_time_flip": False}
    if card.get("scope"):
        shutil.copy(source / card["scope"]["file"], target)
        card["scope"] |= {"threshold": -1e9, "min_region_probability": 0.0}
    card["files"] = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
        for path in sorted(target.iterdir())
    }
    (target / "card.json").write_text(json.dumps(card))
