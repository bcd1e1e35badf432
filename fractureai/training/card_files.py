"""Writing cards back: whole or not at all, hashes of the files beside them fresh."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fractureai.domain.card import ModelCard, parse_card
from fractureai.errors import BrokenDeployment

CARD = "card.json"


def read_cards(folder: Path) -> dict[str, ModelCard]:
    """Every card of a folder of models, by name; the files beside them are not looked at."""
    cards = {}
    for path in sorted(folder.glob(f"*/{CARD}")):
        card, _ = parse_card(path.read_bytes())
        cards[path.parent.name] = card
    if not cards:
        raise BrokenDeployment(f"there is no model in {folder}")
    return cards


def changed(card: ModelCard, **changes: Any) -> ModelCard:
    """The card with some fields replaced, checked as a whole."""
    return ModelCard.model_validate(card.model_dump(mode="json") | changes)


def write_card(folder: Path, card: ModelCard) -> None:
    """Write ``card.json`` by rename, so that no reader sees half of it; the same card gives the same bytes."""
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{CARD}.new"
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(folder / CARD)


def file_entry(path: Path) -> dict[str, Any]:
    """What a card says of a file: sha256 and size."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def copy_weights(source: Path, target: Path, card: ModelCard) -> None:
    """Copy the files a card vouches for; nothing to do where source and target are one folder."""
    if source.resolve() == target.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in card.files:
        shutil.copyfile(source / name, target / name)


def without_measurements(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics less what was measured by split: after a new calibration those figures tell of another model."""
    return {name: value for name, value in metrics.items() if name not in ("train", "val", "test")}
