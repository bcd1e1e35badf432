"""Stages over the real store, ledger, decoder, codec and report; only what the networks say is scripted."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fractureai.domain import keys
from fractureai.domain.canvas import Canvas, place
from fractureai.domain.card import ModelCard
from fractureai.domain.ports import FhirSender, Notifier, QueueLine, ResultSender
from fractureai.domain.records import Priority
from fractureai.domain.scores import Box, FractureReading, ModelIdentity, NetworkReading, RegionReading
from fractureai.domain.study import Batch, Grouping, SourceImage, Stage, Study, Upload
from fractureai.domain.study_json import batch_to_json
from fractureai.errors import TransientFailure
from fractureai.imaging.archive import ZipArchiveReader
from fractureai.imaging.codec import CvCodec
from fractureai.imaging.decoder import ChildDecoder
from fractureai.reports.dicom.writer import StudyDicomWriter
from fractureai.reports.fhir import FhirDocumentWriter
from fractureai.reports.pdf import PdfReportWriter
from fractureai.stages.artifacts import write_json
from fractureai.stages.ports import WorkPolicy
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore
from tests.cards import fracture_card, region_card

Pixels = npt.NDArray[np.uint8]


SHARED_NETWORK, OWN_NETWORK = "a" * 64, "b" * 64


def scripted_reading(image: Pixels, network: str) -> NetworkReading:
    """Two views whose attention is on one cell; the numbers do not matter to the scripted models."""
    attention = np.full((3, 2, 3), -0.5, np.float32)
    attention[1, 1] = 1
    cells, sides = np.full((6, 4, 1), -3, np.float32), np.full((6, 4, 4), 8, np.float32)
    placement = place(image, Canvas(96, 64))
    return NetworkReading(
        network, placement, np.zeros((2, 3), np.float32), attention, np.ones(4, np.float32), cells, sides
    )


@dataclass
class ScriptedRegion:
    """Says what the test tells it to say."""

    card: ModelCard = field(default_factory=region_card)
    name: str = "hand"
    probability: float = 0.95
    scope_score: float = 0.9
    passes: int = 0

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity("region", "0.0.0", "1" * 64)

    def read(self, image: Pixels) -> NetworkReading:
        self.passes += 1
        return scripted_reading(image, SHARED_NETWORK)

    def interpret(self, reading: NetworkReading) -> RegionReading:
        assert len(reading.features)
        other = "elbow" if self.name == "hand" else "hand"
        return RegionReading({self.name: self.probability, other: 1 - self.probability}, self.scope_score)


@dataclass
class ScriptedFracture:
    """A probability, boxes, and attention on one cell."""

    card: ModelCard
    probability: float = 0.9
    boxes: tuple[Box, ...] = ()
    network: str = SHARED_NETWORK
    passes: int = 0

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(self.card.name, "0.0.0", "2" * 64)

    def read(self, image: Pixels) -> NetworkReading:
        self.passes += 1
        return scripted_reading(image, self.network)

    def interpret(self, reading: NetworkReading) -> FractureReading:
        assert reading.network == self.network
        return FractureReading(self.probability, 0.01, reading.attention[..., 2], self.boxes)


@dataclass
class ScriptedModels:
    """A region classifier and fracture models by region."""

    region_model: ScriptedRegion = field(default_factory=ScriptedRegion)
    by_region: dict[str, ScriptedFracture] = field(default_factory=lambda: {"hand": ScriptedFracture(fracture_card())})

    def region(self) -> ScriptedRegion:
        return self.region_model

    def fracture(self, region: str) -> ScriptedFracture | None:
        return self.by_region.get(region)

    def cards(self) -> list[tuple[ModelCard, ModelIdentity]]:
        return [(model.card, model.identity) for model in (self.region_model, *self.by_region.values())]


@dataclass
class RecordingQueue:
    """Remembers what was published; can be away."""

    sent: list[tuple[str, str]] = field(default_factory=list)
    away: bool = False
    line_s: QueueLine = field(default_factory=QueueLine)
    priorities: dict[str, Priority] = field(default_factory=dict)

    def publish_study(self, study_id: str, stage: Stage, priority: Priority = Priority.WALK_IN) -> None:
        self._send(study_id, stage.value)
        self.priorities[study_id] = priority

    def publish_batch(self, batch_id: str, priority: Priority = Priority.WALK_IN) -> None:
        self._send(batch_id, "intake")
        self.priorities[batch_id] = priority

    def publish_delivery(self, delivery_id: str) -> None:
        self._send(delivery_id, "delivery")

    def line(self) -> QueueLine:
        if self.away:
            raise TransientFailure("queue_unavailable")
        return self.line_s

    def _send(self, subject: str, what: str) -> None:
        if self.away:
            raise TransientFailure("queue_unavailable")
        self.sent.append((subject, what))


@dataclass
class House:
    """The ports of a stage, and hands for the test."""

    store: LocalStore
    ledger: SqlLedger
    decoder: ChildDecoder
    models: ScriptedModels = field(default_factory=ScriptedModels)
    queue: RecordingQueue = field(default_factory=RecordingQueue)
    codec: CvCodec = field(default_factory=CvCodec)
    archives: ZipArchiveReader = field(default_factory=ZipArchiveReader)
    report_writer: PdfReportWriter = field(default_factory=PdfReportWriter)
    dicom_writer: StudyDicomWriter | None = field(default_factory=StudyDicomWriter)
    policy: WorkPolicy = field(
        default_factory=lambda: WorkPolicy(lease_s=100, max_attempts=3, backoff_s=10, patience_s=900, insist_s=0)
    )
    software_version: str = "0.0.0"
    notifier: Notifier | None = None
    fhir: FhirDocumentWriter = field(default_factory=FhirDocumentWriter)
    fhir_sender: FhirSender | None = None
    sender: ResultSender | None = None
    now_s: float = 1_000_000.0

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: self.now_s

    @property
    def new_id(self) -> Callable[[], str]:
        return lambda: uuid.uuid4().hex

    def study(self, *files: bytes) -> Study:
        """A study whose sources are in the store, not yet accepted."""
        study_id, batch_id = self.new_id(), self.new_id()
        images = []
        for number, data in enumerate(files, start=1):
            stored = self.store.put(keys.source("local", study_id, number), data)
            images.append(SourceImage(number, f"view {number}", stored.size_bytes, stored.sha256))
        return Study("local", study_id, batch_id, "a study", self.now_s, tuple(images))

    def accepted(self, *files: bytes) -> Study:
        """A study open at its first stage."""
        study = self.study(*files)
        self.ledger.accept_study(study, publish_due_at_s=self.now_s + self.policy.patience_s)
        return study

    def batch(self, *files: tuple[str, bytes], grouping: Grouping = Grouping.FILE, pattern: str = "") -> Batch:
        """A batch whose uploads are in the store, accepted."""
        batch_id = self.new_id()
        uploads = []
        for number, (name, data) in enumerate(files, start=1):
            self.store.put(keys.batch_upload("local", batch_id, number), data)
            uploads.append(Upload(number, name, len(data), hashlib.sha256(data).hexdigest()))
        batch = Batch("local", batch_id, "a batch", self.now_s, tuple(uploads), grouping, pattern)
        write_json(self.store, keys.batch_json("local", batch_id), batch_to_json(batch))
        self.ledger.accept_batch(batch, publish_due_at_s=self.now_s + self.policy.patience_s)
        return batch


@pytest.fixture(scope="session")
def decoder() -> Iterator[ChildDecoder]:
    decoder = ChildDecoder()
    yield decoder
    decoder.close()


@pytest.fixture
def house(tmp_path: Path, decoder: ChildDecoder) -> Iterator[House]:
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield House(LocalStore(tmp_path / "store", durable=False), ledger, decoder)
    ledger.close()
