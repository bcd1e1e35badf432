"""Proves what became of accepted work. Reads the store's files and the sender's notes, and none of the product's code.

The store's layout is told here a second time on purpose: a mistake in the product's key functions must not hide itself.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pymupdf

_FINAL = {"done", "rejected", "failed"}


@dataclass
class Verdict:
    """What was found.

    Attributes
    ----------
    wrong:
        Broken promises, each a sentence; empty if all were kept.
    outcomes:
        Accepted files by what became of them.
    leftovers:
        Folders in the store that belong to nothing that was accepted.
    """

    accepted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def check(store: Path, notes: list[dict[str, Any]], told: list[dict[str, Any]]) -> Verdict:
    """Compare.

    Parameters
    ----------
    store:
        The folder with ``sites/…`` in it.
    notes:
        One entry a batch the service has accepted: ``batch_id`` and ``files``, each with ``name``, ``sha256`` and
        ``readable`` (whether it is a radiograph at all).
    told:
        The messages of the webhook.
    """
    verdict = Verdict()
    studies = _studies(store, verdict)
    by_batch: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for study in studies.values():
        by_batch[study["batch_id"]].append(study)
    for note in notes:
        _batch(note, by_batch.pop(note["batch_id"], []), store, verdict)
    _messages(told, {name for name, study in studies.items() if study["batch_id"] not in by_batch}, verdict)
    for batch_id, strangers in by_batch.items():
        verdict.leftovers += [f"study {study['study_id']} of unknown batch {batch_id}" for study in strangers]
    return verdict


def _studies(store: Path, verdict: Verdict) -> dict[str, dict[str, Any]]:
    found = {}
    for folder in sorted(store.glob("sites/*/studies/*")):
        description = _json(folder / "study.json", verdict)
        if description is None:
            verdict.leftovers.append(f"{folder.name}: files without a study.json")
            continue
        if description["study_id"] != folder.name:
            verdict.wrong.append(f"{folder.name}: its study.json is another's")
        found[folder.name] = description | {"folder": folder}
    return found


def _batch(note: dict[str, Any], studies: list[dict[str, Any]], store: Path, verdict: Verdict) -> None:
    rejected = _rejected(store, note["batch_id"])
    held: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for study in studies:
        for image in study["images"]:
            held[image["sha256"]].append(study)
    for file in note["files"]:
        verdict.accepted += 1
        own = held.pop(file["sha256"], [])
        name = f"batch {note['batch_id']} {file['name']}"
        if len(own) > 1:
            verdict.wrong.append(f"{name}: doubled, in {len(own)} studies")
        elif own:
            _final(name, file, own[0], verdict)
        elif file["readable"] or not rejected:
            verdict.wrong.append(f"{name}: lost")
        else:
            verdict.outcomes["rejected"] += 1
    verdict.wrong += [f"batch {note['batch_id']}: a study of a file nobody sent ({each[:12]})" for each in held]


def _rejected(store: Path, batch_id: str) -> bool:
    """Whether the batch was closed at all; files that are no radiographs may be named in the ledger alone."""
    return any(store.glob(f"sites/*/batches/{batch_id}/batch.json"))


def _final(name: str, file: dict[str, Any], study: dict[str, Any], verdict: Verdict) -> None:
    folder: Path = study["folder"]
    result = _json(folder / "result.json", verdict)
    if result is None:
        verdict.wrong.append(f"{name}: open for ever, study {folder.name} has no result")
        return
    verdict.outcomes[result["state"]] += 1
    if result["state"] not in _FINAL:
        verdict.wrong.append(f"{name}: its result is {result['state']}")
    if result["study_id"] != study["study_id"] or len(result["images"]) != len(study["images"]):
        verdict.wrong.append(f"{name}: the result is of another study")
    if file["readable"] and result["state"] == "rejected":
        verdict.wrong.append(f"{name}: an honest file was rejected: {result['reasons']}")
    if not file["readable"] and result["state"] == "done":
        verdict.wrong.append(f"{name}: a broken file is called done")
    for image in study["images"]:
        _source(name, folder / "source" / f"{image['number']:05d}", image["sha256"], verdict)
    if result["state"] == "done":
        _artifacts(name, folder, result, verdict)


def _source(name: str, path: Path, sha256: str, verdict: Verdict) -> None:
    if not path.is_file():
        verdict.wrong.append(f"{name}: its source is gone")
    elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        verdict.wrong.append(f"{name}: its source is torn")


def _artifacts(name: str, folder: Path, result: dict[str, Any], verdict: Verdict) -> None:
    try:
        with pymupdf.open(folder / "report.pdf") as report:
            if not report.page_count or "Not for diagnostic use" not in report[0].get_text().replace("\n", " "):
                verdict.wrong.append(f"{name}: the report says nothing")
    except (RuntimeError, OSError, ValueError) as error:
        verdict.wrong.append(f"{name}: no report that opens ({error})")
    suffixes = {"image": "png", "heat": "heat.png", "overlay": "overlay.jpg", "roi": "roi.png"}
    for image in result["images"]:
        for kind in image["artifacts"]:
            path = folder / "images" / f"{image['number']:05d}.{suffixes[kind]}"
            data = np.frombuffer(path.read_bytes(), np.uint8) if path.is_file() else np.empty(0, np.uint8)
            if not data.size or cv2.imdecode(data, cv2.IMREAD_UNCHANGED) is None:
                verdict.wrong.append(f"{name}: {path.name} is missing or torn")


def _messages(told: list[dict[str, Any]], studies: set[str], verdict: Verdict) -> None:
    """A message may come twice after a crash, but it is one message, with one id."""
    ids: dict[str, set[str]] = defaultdict(set)
    for message in told:
        ids[message["study_id"]].add(message["delivery_id"])
    verdict.wrong += [f"study {study}: told by {len(each)} messages" for study, each in ids.items() if len(each) > 1]
    verdict.wrong += [f"study {study}: nobody was told" for study in sorted(studies - set(ids))]


def _json(path: Path, verdict: Verdict) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_bytes()))
    except ValueError:
        verdict.wrong.append(f"{path.parent.name}/{path.name}: torn")
        return None
