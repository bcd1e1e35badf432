"""A listener over the real store and ledger, and small objects to send."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)
from pynetdicom import AE

from fractureai.dicom.listener import Listener, ListenerSettings
from fractureai.dicom.peers import Destination
from fractureai.domain.examinations import Quiet
from fractureai.domain.ports import OutgoingObject
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore


@dataclass
class Ports:
    """What the listener needs; store and ledger can be taken away."""

    store: Any
    ledger: Any
    queue: Any = None
    policy: Any = None


@dataclass
class Post:
    """A listener with its ports."""

    ports: Ports
    store: LocalStore
    ledger: SqlLedger
    listener: Listener | None = None
    quiet: Quiet = field(default_factory=lambda: Quiet(after_s=5.0))

    @property
    def port(self) -> int:
        assert self.listener is not None
        return self.listener.port

    def listen(self, **settings: Any) -> None:
        if self.listener is not None:
            self.listener.close()
        chosen = ListenerSettings(**{"port": 0, "quiet": self.quiet} | settings)
        self.listener = Listener(chosen, self.ports, time.time, lambda: uuid.uuid4().hex)

    def arrivals(self, site: str = "local") -> list[str]:
        """Keys of the instances in the store."""
        return sorted(self.store.keys(f"sites/{site}/arrivals/"))

    def images(self) -> list[tuple[str, int]]:
        """Site and number of images of each examination, by closing them all."""
        later = time.time() + 1e6
        found = []
        for examination_id in self.ledger.due_examinations(now_s=later, limit=1000):
            ids = {"batch_id": uuid.uuid4().hex, "study_id": uuid.uuid4().hex}
            closing = self.ledger.close_examination(examination_id, **ids, now_s=later, lease_s=1)
            assert closing is not None
            found.append((closing.site, len(closing.images)))
        return sorted(found)


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its tables, made once: to copy."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    SqlLedger.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def post(tmp_path: Path, empty_ledger: Path) -> Iterator[Post]:
    store = LocalStore(tmp_path / "store", durable=False)
    shutil.copy(empty_ledger, tmp_path / "ledger.sqlite")
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    made = Post(Ports(store, ledger), store, ledger)
    made.listen()
    yield made
    assert made.listener is not None
    made.listener.close()
    ledger.close()


def radiograph(*, sop_class: str = ComputedRadiographyImageStorage, study: str = "", side_px: int = 32) -> Dataset:
    """A small computed radiograph that can be sent."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = study or generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Marked^Name", "CR"
    dataset.Rows = dataset.Columns = side_px
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes(2 * side_px * side_px)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    meta = dataset.file_meta
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    FileDataset(None, dataset, preamble=bytes(128), file_meta=meta).save_as(path, enforce_file_format=True)
    return path


def statuses(
    port: int, datasets: Sequence[Dataset], *, ae_title: str = "XRAY1", called: str = "ANY-SCP", **named: Any
) -> list[int | None]:
    """The status of each C-STORE over one association; ``None`` where there was no answer."""
    entity = AE(ae_title)
    for sop_class in {dataset.SOPClassUID for dataset in datasets}:
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called, **named)
    if not association.is_established:
        return [None] * len(datasets)
    answers = [association.send_c_store(dataset) for dataset in datasets]
    association.release()
    return [answer.Status if answer else None for answer in answers]


@pytest.fixture
def outgoing(tmp_path: Path) -> Callable[[int], list[OutgoingObject]]:
    """Small encapsulated documents of one study, as result objects."""
    study = generate_uid()

    def make(count: int) -> list[OutgoingObject]:
        made = []
        for number in range(1, count + 1):
            dataset = Dataset()
            dataset.SOPClassUID, dataset.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, generate_uid()
            dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Marked^Name", "DOC"
            dataset.MIMETypeOfEncapsulatedDocument, dataset.EncapsulatedDocument = "application/pdf", b"%PDF-1.4 "
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            path = save(dataset, tmp_path / f"object-{number}.dcm")
            uids = (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID)
            made.append(OutgoingObject(f"object-{number}", *uids, path))
        return made

    return make


def dimse(port: int, **changes: Any) -> Destination:
    chosen = Destination(name="pacs", kind="dimse", ae_title="PACS", host="127.0.0.1", port=port, timeout_s=5)
    return chosen.model_copy(update=changes)
