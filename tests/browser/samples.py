"""A service with something to show: a real store and a real ledger in a folder, filled with invented studies.

``python -m tests.browser.samples`` serves it for looking at.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask

from fractureai.dicom.part10 import Part10Reader
from fractureai.domain import keys
from fractureai.domain.assessment import Finding, assess_probability, assess_study
from fractureai.domain.card import ModelCard, parse_card
from fractureai.domain.contents import DICOM_DIRECTORY, SKIPPED
from fractureai.domain.ports import StoredObject
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Priority
from fractureai.domain.result import FractureFinding, ImageResult, StudyResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, Batch, SourceImage, Stage, Study, Upload, WorkState
from fractureai.imaging.codec import CvCodec
from fractureai.reports.fhir import FhirDocumentWriter
from fractureai.stages import accept
from fractureai.stages.artifacts import write_json
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore
from fractureai.web.app import WebPorts, WebSettings, create_app

SITE = "local"
THRESHOLDS = (0.21, 0.58)
_CODEC = CvCodec()


@dataclass
class ListQueue:
    """A queue that only remembers what it was given."""

    studies: list[tuple[str, Stage]] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)

    def publish_study(self, study_id: str, stage: Stage, priority: Priority = Priority.WALK_IN) -> None:
        self.studies.append((study_id, stage))

    def publish_batch(self, batch_id: str, priority: Priority = Priority.WALK_IN) -> None:
        self.batches.append(batch_id)


def _card(name: str, task: str, region: str | None, metrics: dict[str, Any]) -> tuple[ModelCard, ModelIdentity]:
    point = {"confidence": 0.9, "images": 412, "method": "exact binomial bound"}
    points = {
        "fracture": {"threshold": THRESHOLDS[1], "rate": "false_alarms", "bound": 0.05, "observed": 0.036, **point},
        "suspected": {"threshold": THRESHOLDS[0], "rate": "missed_fractures", "bound": 0.1, "observed": 0.071, **point},
    }
    scope = {"file": "scope.npz", "method": "Mahalanobis distance", "threshold": -41.7}
    scope |= {"min_region_probability": 0.6, "accepted_share": 0.981}
    card = {
        "name": name,
        "version": "0.1.0",
        "task": task,
        "region": region,
        "classes": ["fracture"] if region else ["elbow", "hand", "hip", "leg", "shoulder"],
        "network": {"name": "limbs", "sha256": "cd" * 32, "logits": [0] if region else [0, 1, 2, 3, 4]},
        "calibration": {"method": "platt", "slope": 1.12, "intercept": -0.2, "fitted_on": "validation", "images": 412},
        "operating_points": points if region else None,
        "scope": None if region else scope,
        "files": {"scope.npz": {"sha256": "ab" * 32, "size_bytes": 182_733}},
        "intended_use": "Invented for looking at this page. No figure here was measured.",
        "limits": ["Adults only in the training data.", "No plaster casts, no implants.", "One hospital, one country."],
        "licence": "Apache-2.0",
        "data": {
            "name": "An invented data set",
            "citation": "Nobody et al., 2025.",
            "licence": "CC BY 4.0",
            "images": {"train_normal": 1201, "train_fracture": 340, "test_normal": 260, "test_fracture": 71},
            "remarks": ["Phantoms were added to the training part and are counted in no metric."],
        },
        "training": {
            "epochs": {"frozen": 4, "fine_tuned": 6},
            "optimiser": "AdamW",
            "learning_rate": 0.0003,
            "augmentation": ["flip", "rotation ±12°", "contrast"],
        },
        "metrics": metrics,
    }
    text = json.dumps(card).encode()
    parsed, digest = parse_card(text, ModelCard)
    return parsed, ModelIdentity(name, "0.1.0", digest)


_FRACTURE_METRICS = {
    "test": {"images": 331, "auc": 0.912, "auc_interval_95": [0.871, 0.946], "brier": 0.0931},
    "by_manufacturer": {
        "A": {"images": 200, "sensitivity": 0.92, "specificity": 0.88},
        "B": {"images": 131, "sensitivity": 0.87, "specificity": 0.9},
    },
    "remarks": "measured once, on the test part",
}
_REGION_METRICS = {
    "accuracy": 0.985,
    "images": 815,
    "per_class": {
        "elbow": {"precision": 0.99, "recall": 0.98, "images": 131},
        "hand": {"precision": 0.98, "recall": 0.99, "images": 307},
        "shoulder": {"precision": 0.99, "recall": 0.97, "images": 70},
    },
    "out_of_scope": {"chest": {"refused": 0.97, "images": 300}, "photographs": {"refused": 0.99, "images": 200}},
}


class SampleModels:
    """Cards without models."""

    def __init__(self) -> None:
        self._cards = [
            _card("region", "region", None, _REGION_METRICS),
            *(_card(f"fracture-{name}", "fracture", name, _FRACTURE_METRICS) for name in ("elbow", "hand", "shoulder")),
        ]

    def cards(self) -> list[tuple[ModelCard, ModelIdentity]]:
        return self._cards

    def identity(self, name: str) -> ModelIdentity:
        return next(identity for _, identity in self._cards if identity.name == name)


def open_ports(folder: Path) -> WebPorts:
    """A store and a ledger in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return WebPorts(
        store=LocalStore(folder / "store", durable=False),
        ledger=SqlLedger.open(f"sqlite:///{folder / 'ledger.db'}"),
        queue=ListQueue(),
        models=SampleModels(),  # type: ignore[arg-type]
        clock=time.time,
        new_id=lambda: uuid.uuid4().hex,
        fhir=FhirDocumentWriter(),
        instances=Part10Reader(),
    )


def open_app(ports: WebPorts, **settings: Any) -> Flask:
    """The application over ``ports``."""
    return create_app(ports, WebSettings(secret_key=b"only for the tests", software_version="0.1.0", **settings))


@dataclass(frozen=True)
class View:
    """One invented view: its picture, and what the models are made to say of it."""

    file_name: str
    region: str = "hand"
    probability: float | None = 0.1
    pixels: np.ndarray | None = None
    box_px: tuple[int, int, int, int] | None = None
    reasons: tuple[Reason, ...] = ()
    set_aside: bool = False
    shown_px: tuple[int, int] | None = None  # width and height with square pixels


def receive(ports: WebPorts, views: Sequence[View], *, label: str = "", batch_id: str | None = None) -> Study:
    """Accept a study."""
    study_id = ports.new_id()
    images = []
    for number, view in enumerate(views, start=1):
        stored: StoredObject = ports.store.put(keys.source(SITE, study_id, number), view.file_name.encode())
        images.append(SourceImage(number, view.file_name, stored.size_bytes, stored.sha256))
    study = Study(SITE, study_id, batch_id or ports.new_id(), label, ports.clock(), tuple(images))
    accept.accept_study(study, ports)
    return study


def advance(ports: WebPorts, study: Study, to: Stage) -> None:
    """Walk a study on to a stage, as workers would."""
    row = ports.ledger.study(study.study_id, site=SITE)
    assert row is not None
    assert row.stage is not None
    for stage in row.stage.remaining:
        if stage is to:
            return
        claim = ports.ledger.claim(study.study_id, stage, owner="samples", now_s=ports.clock(), lease_s=60)
        assert claim is not None
        assert ports.ledger.advance(claim, now_s=ports.clock(), due_at_s=ports.clock() + 900)


def finish(
    ports: WebPorts,
    study: Study,
    views: Sequence[View],
    state: WorkState = WorkState.DONE,
    notes: Sequence[Reason] = (),
) -> StudyResult:
    """Close a study, wherever it is, with its artifacts and result; ``notes`` are of the study as a whole."""
    images = tuple(_image(ports, study, number, view) for number, view in enumerate(views, start=1))
    names = sorted({image.model.name for image in images if image.model} | {"region"})
    models = tuple(ports.models.identity(name) for name in names)  # type: ignore[attr-defined]
    finding = assess_study([image.finding for image in images if not image.set_aside], notes)
    result = StudyResult(study.study_id, study.label, state, finding, images, models, "0.1.0")
    if state is WorkState.DONE:
        ports.store.put(keys.report_pdf(SITE, study.study_id), b"%PDF-1.7\n%invented\n")
    write_json(ports.store, keys.result_json(SITE, study.study_id), result.to_json())
    last = Stage.REPORT if state is WorkState.DONE else Stage.CLASSIFY
    advance(ports, study, last)
    claim = ports.ledger.claim(study.study_id, last, owner="samples", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    assert ports.ledger.finish(
        claim,
        state,
        now_s=ports.clock(),
        assessment=finding.assessment,
        region=result.region,
        max_fracture_probability=result.max_fracture_probability,
        reasons=finding.reasons,
    )
    return result


def add(
    ports: WebPorts, *views: View, state: WorkState = WorkState.DONE, notes: Sequence[Reason] = (), **study: Any
) -> Study:
    """Accept a study and finish it."""
    received = receive(ports, views, **study)
    finish(ports, received, views, state, notes)
    return received


def _image(ports: WebPorts, study: Study, number: int, view: View) -> ImageResult:
    if view.probability is None:
        finding = Finding(Assessment.INCONCLUSIVE, view.reasons)
        plain = ImageResult(number, view.file_name, finding, set_aside=view.set_aside)
        if view.pixels is None:
            return plain
        ports.store.put(keys.image_png(SITE, study.study_id, number), _CODEC.encode_grey(view.pixels))
        height, width = view.pixels.shape
        return replace(
            plain,
            region=view.region,
            region_probability=0.41,
            artifacts=("image",),
            source_height_px=height,
            source_width_px=width,
        )
    pixels = np.full((64, 48), 90, np.uint8) if view.pixels is None else view.pixels
    height, width = pixels.shape
    box = view.box_px or (width // 3, height // 3, 2 * width // 3, 2 * height // 3)
    attention = _attention(height, width, box)
    store, study_id = ports.store, study.study_id
    finding = assess_probability(view.probability, THRESHOLDS)
    store.put(keys.image_png(SITE, study_id, number), _CODEC.encode_grey(pixels))
    store.put(keys.heat_png(SITE, study_id, number), _CODEC.heat(attention))
    is_flagged = finding.assessment is not Assessment.NO_FRACTURE
    if is_flagged:
        store.put(keys.overlay_jpg(SITE, study_id, number), _CODEC.overlay(pixels, attention))
        x0, y0, x1, y1 = box
        store.put(keys.roi_png(SITE, study_id, number), _CODEC.encode_grey(pixels[y0:y1, x0:x1]))
    return ImageResult(
        number=number,
        file=view.file_name,
        finding=finding,
        in_scope=True,
        region=view.region,
        region_probability=0.994,
        fracture_probability=view.probability,
        fracture_spread=0.02,
        thresholds=THRESHOLDS,
        roi_px=box if is_flagged else None,
        findings=(FractureFinding(box, view.probability, 1),) if is_flagged else (),
        source_height_px=height,
        source_width_px=width,
        shown_width_px=view.shown_px and view.shown_px[0],
        shown_height_px=view.shown_px and view.shown_px[1],
        model=ports.models.identity(f"fracture-{view.region}"),  # type: ignore[attr-defined]
        artifacts=("image", "heat", *(("overlay", "roi") if is_flagged else ())),
    )


def _attention(height: int, width: int, roi: tuple[int, int, int, int]) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    x, y = (roi[0] + roi[2]) / 2, (roi[1] + roi[3]) / 2
    reach = max(roi[2] - roi[0], roi[3] - roi[1]) / 1.6
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (reach / 1.5) ** 2)).astype(np.float32)


def radiograph(region: str, view: str, seed: int, *, fractured: bool) -> tuple[np.ndarray, Any]:
    """A drawn radiograph as 8 bits, and where its fracture is."""
    from fractureai.phantoms.render import PhantomSpec, render

    drawn = render(PhantomSpec(region, view, fractured, seed, 960, 760))
    return (drawn.pixels >> 4).astype(np.uint8), drawn.fracture_box_px


def fill(ports: WebPorts) -> dict[str, str]:
    """One of each kind of study, and a batch. Returns the addresses worth looking at, by name."""

    def shot(region: str, view: str, seed: int, probability: float) -> View:
        pixels, box = radiograph(region, view, seed, fractured=probability > THRESHOLDS[0])
        return View(f"{region}_{view}.dcm", region, probability, pixels, box)

    batch_id = ports.new_id()
    uploads = (Upload(1, "monday.zip", 40_000_000, hashlib.sha256(b"").hexdigest()),)
    accept.accept_batch(Batch(SITE, batch_id, "Monday, emergency room", ports.clock(), uploads), ports)
    claim = ports.ledger.claim_batch(batch_id, owner="samples", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    unread = (
        ("monday/DICOMDIR", Reason(SKIPPED, DICOM_DIRECTORY)),
        ("monday/scan 7.zip", Reason("archive_nested")),
        ("monday/VIEWER/VIEW.EXE", Reason(SKIPPED, "program")),
    )
    assert ports.ledger.unpacked(claim, (), unread, now_s=ports.clock())
    refused = View("letter.png", probability=None, reasons=(Reason("unknown_type"),))
    failing = View("elbow_ap.dcm", "elbow", None, None, None, (Reason("attempts_exhausted", "stage detect"),))
    dots = np.random.default_rng(1).integers(40, 210, (600, 600), dtype=np.uint8)
    stranger = View("chest.png", "shoulder", None, dots, None, (Reason("out_of_scope"),))
    elbow = (shot("elbow", "frontal", 4, 0.93), shot("elbow", "lateral", 4, 0.47))
    waiting = receive(ports, [View("a.dcm")], label="Case 2093", batch_id=batch_id)
    advance(ports, waiting, Stage.EXPLAIN)
    receive(ports, [View("b.dcm"), View("c.dcm")], label="Case 2094", batch_id=batch_id)
    found = {
        "fracture": add(ports, *elbow, label="Case 2088: elbow after a fall", batch_id=batch_id),
        "suspected": add(ports, shot("hand", "frontal", 9, 0.36), label="Case 2089", batch_id=batch_id),
        "normal": add(ports, shot("shoulder", "frontal", 2, 0.004), label="Case 2090", batch_id=batch_id),
        "inconclusive": add(ports, stranger, batch_id=batch_id),
        "mixed": add(ports, shot("hand", "frontal", 11, 0.08), stranger, refused, label="Case 2091", batch_id=batch_id),
        "rejected": add(ports, refused, state=WorkState.REJECTED, batch_id=batch_id),
        "failed": add(ports, failing, state=WorkState.FAILED, label="Case 2092", batch_id=batch_id),
    }
    pages = {name: f"/studies/{study.study_id}" for name, study in found.items()}
    return pages | {"open": f"/studies/{waiting.study_id}", "batch": f"/batches/{batch_id}"}


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/web-samples")
    opened = open_ports(target)
    for name, address in fill(opened).items():
        print(name, f"http://127.0.0.1:8899{address}", flush=True)
    open_app(opened).run(port=8899, threaded=True)
