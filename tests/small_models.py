"""The shipped networks on a small canvas: all stages run, and what is loaded is the service around them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import openvino

_SHIPPED = Path(__file__).resolve().parents[1] / "models"
_HEIGHT_PX, _WIDTH_PX = 96, 64


def small_models(target: Path) -> Path:
    """Write them to ``target``, every picture in scope.

    What they read there means nothing; promises about work are tried with them, not promises about fractures.
    """
    for source in sorted(path.parent for path in _SHIPPED.glob("*/network.json")):
        small_network(source, target / source.name)
    for source in sorted(path.parent for path in _SHIPPED.glob("*/card.json")):
        _small_model(source, target)
    return target


def small_network(source: Path, target: Path) -> None:
    """Write a network on a small canvas, read once."""
    target.mkdir(parents=True)
    network = openvino.Core().read_model(source / "model.xml")
    network.reshape({"image": [-1, _HEIGHT_PX, _WIDTH_PX, 1]})
    openvino.save_model(network, target / "model.xml")
    card = json.loads((source / "network.json").read_text())
    card["name"] = target.name
    card["input"] |= {"height_px": _HEIGHT_PX, "width_px": _WIDTH_PX, "second_view": "none"}
    card["files"] = {path.name: file_entry(path) for path in sorted(target.iterdir())}
    (target / "network.json").write_text(json.dumps(card))


def _small_model(source: Path, folder: Path) -> None:
    target = folder / source.name
    target.mkdir(parents=True)
    card = json.loads((source / "card.json").read_text())
    network = (folder / card["network"]["name"] / "network.json").read_bytes()
    card["network"]["sha256"] = hashlib.sha256(network).hexdigest()
    if card.get("scope"):
        shutil.copy(source / card["scope"]["file"], target)
        card["scope"] |= {"threshold": -1e9, "min_region_probability": 0.0}
    card["files"] = {path.name: file_entry(path) for path in sorted(target.iterdir())}
    (target / "card.json").write_text(json.dumps(card))


def spoil_network(folder: Path) -> None:
    """Put something that is no network in its place, and let all cards vouch for it."""
    (card,) = folder.glob("*/network.json")
    (card.parent / "model.xml").write_bytes(b"<net/>")
    told = json.loads(card.read_text())
    told["files"]["model.xml"] = file_entry(card.parent / "model.xml")
    card.write_text(json.dumps(told))
    for model in folder.glob("*/card.json"):
        told = json.loads(model.read_text())
        told["network"]["sha256"] = hashlib.sha256(card.read_bytes()).hexdigest()
        model.write_text(json.dumps(told))


def file_entry(path: Path) -> dict[str, Any]:
    """What a card says of a file."""
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
