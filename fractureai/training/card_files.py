"""Writing cards back: whole or not at all, hashes of the files beside them fresh."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fractureai.domain.card import CARD_FILE, NETWORK_FILE, ModelCard, NetworkCard, parse_card
from fractureai.errors import BrokenDeployment


def read_cards(folder: Path) -> dict[str, ModelCard]:
    """Every card of a folder of models, by name; the files beside them are not looked at."""
    cards = {}
    for path in sorted(folder.glob(f"*/{CARD_FILE}")):
        card, _ = parse_card(path.read_bytes(), ModelCard)
        cards[path.parent.name] = card
    if not cards:
        raise BrokenDeployment(f"there is no model in {folder}")
    return cards


def changed(card: ModelCard, **changes: Any) -> ModelCard:
    """The card with some fields replaced, checked as a whole."""
    return ModelCard.model_validate(card.model_dump(mode="json") | changes)


def write_card(folder: Path, card: ModelCard | NetworkCard) -> None:
    """Write ``card.json`` or ``network.json`` by rename, so that no reader sees half of it.

    The same card gives the same bytes.
    """
    name = CARD_FILE if isinstance(card, ModelCard) else NETWORK_FILE
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{name}.new"
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(folder / name)


def file_entry(path: Path) -> dict[str, Any]:
    """What a card says of a file: sha256 and size."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def copy_files(models: Path, target: Path, card: ModelCard) -> None:
    """Copy the files of a model, and its network's folder; nothing to do where both folders are one."""
    if models.resolve() == target.resolve():
        return
    own = target / card.name
    own.mkdir(parents=True, exist_ok=True)
    for name in card.files:
        shutil.copyfile(models / card.name / name, own / name)
    network, _ = parse_card((models / card.network.name / NETWORK_FILE).read_bytes(), NetworkCard)
    shared = target / card.network.name
    shared.mkdir(parents=True, exist_ok=True)
    for name in (NETWORK_FILE, *network.files):
        shutil.copyfile(models / card.network.name / name, shared / name)


def without_measurements(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics less what was measured by split: after a new calibration those figures tell of another model."""
    return {name: value for name, value in metrics.items() if name not in ("train", "val", "test")}
