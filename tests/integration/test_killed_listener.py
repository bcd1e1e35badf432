"""The listener is killed in the middle of many transfers, again and again; what it had acknowledged is there, once."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from fractureai.bootstrap import Deployment
from fractureai.domain import keys
from fractureai.settings import Settings
from fractureai.stages import examinations, intake
from tests.integration.waiting import until
from tests.processes import free_port
from tests.unit.dicom.conftest import radiograph

pytestmark = pytest.mark.timeout(240)

SENDERS, STUDIES_EACH, VIEWS, KILLS = 6, 5, 3, 3
SIDE_PX = 700  # a megabyte: eight PDUs, so that a kill finds most transfers half done


@dataclass
class Killable:
    """``fractureai dicom listen``'s process, on the same port and data each time."""

    data: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        own = {
            "FRACTUREAI_DATA_DIR": str(self.data),
            "FRACTUREAI_DICOM__PORT": str(self.port),
            "FRACTUREAI_DICOM__QUIET_S": "1",
        }
        with (self.data / "listener.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fractureai", "dicom", "listen"], env=os.environ | own, stdout=log, stderr=log
            )
        until(self._answers, every_s=0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.data / "listener.log").read_text()[-2000:]
        entity = AE("XRAY0")
        entity.add_requested_context("1.2.840.10008.1.1")
        association = entity.associate("127.0.0.1", self.port)
        if association.is_established:
            association.release()
            return True
        return False


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Killable]:
    made = Killable(tmp_path)
    made.start()
    yield made
    made.kill()


@dataclass
class Senders:
    """Modalities, each with a list of images; each repeats what was not answered with success, and nothing else."""

    port: int
    taken: list[str] = field(default_factory=list)
    cut: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, title: str, images: Sequence[Dataset]) -> None:
        left = list(images)
        while left:
            entity = AE(title)
            entity.add_requested_context(left[0].SOPClassUID, ExplicitVRLittleEndian)
            association = entity.associate("127.0.0.1", self.port)
            if not association.is_established:
                threading.Event().wait(0.05)
                continue
            while left and self._stored(association, left[0]):
                left.pop(0)
            if association.is_established:
                association.release()

    def _stored(self, association: AE, image: Dataset) -> bool:
        try:
            answer = association.send_c_store(image)
        except RuntimeError:  # the association ended in the meantime
            answer = None
        success = bool(answer) and answer.Status == 0
        with self._lock:
            if success:
                self.taken.append(image.SOPInstanceUID)
            self.cut += not success
        return success


def test_what_was_acknowledged_is_there_once_and_whole(listener: Killable) -> None:
    sent: dict[str, Dataset] = {}
    senders = Senders(listener.port)
    threads = []
    for number in range(SENDERS):
        images = [
            radiograph(study=study, side_px=SIDE_PX)
            for study in (generate_uid() for _ in range(STUDIES_EACH))
            for _ in range(VIEWS)
        ]
        for image in images:
            image.PixelData = os.urandom(len(image.PixelData))
        sent |= {image.SOPInstanceUID: image for image in images}
        threads.append(threading.Thread(target=senders.send, args=(f"XRAY{number}", images)))
    for thread in threads:
        thread.start()
    for done in range(KILLS):
        enough = (done + 1) * len(sent) // (KILLS + 1)
        until(lambda enough=enough: len(senders.taken) >= enough, every_s=0.005)  # type: ignore[misc]
        listener.kill()
        listener.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    listener.kill()

    assert sorted(senders.taken) == sorted(sent)
    assert senders.cut
    # Accepting needs no queue; there is none here.
    nowhere = {"url": f"redis://127.0.0.1:{free_port()}/0"}
    built = Deployment(Settings.model_validate({"data_dir": listener.data, "queue": nowhere}))
    try:
        _all_are_in_studies(built, sent)
        _only_what_nobody_was_told_of_is_left_over(built, sent)
    finally:
        built.decoder.close()
        built.ledger.close()


def _all_are_in_studies(built: Deployment, sent: dict[str, Dataset]) -> None:
    until(lambda: examinations.run(built) == 0 and not built.ledger.due_examinations(now_s=math.inf, limit=1))
    for batch in built.ledger.due_batches(now_s=math.inf, due_before_s=math.inf, limit=1000):
        assert intake.run(batch.batch_id, built) == "done"
    found: dict[str, list[str]] = {}
    for row in built.ledger.studies(site="local", limit=200).rows:
        place = built.ledger.revision_of(row.study_id, site="local")
        assert place is not None
        study = built.ledger.sources(row.study_id, site="local")
        assert study is not None
        if place.superseded_by is None:
            for image in study.images:
                data = built.store.get(keys.source("local", row.study_id, image.number))
                assert hashlib.sha256(data).hexdigest() == image.sha256
                found.setdefault(_uid_of(data, sent), []).append(row.study_id)
    assert sorted(found) == sorted(sent)
    assert {len(studies) for studies in found.values()} == {1}


def _uid_of(data: bytes, sent: dict[str, Dataset]) -> str:
    """Which image it is, having seen that it is whole."""
    dataset = dcmread(BytesIO(data))
    uid = str(dataset.SOPInstanceUID)
    assert dataset.PixelData == sent[uid].PixelData
    assert dataset.StudyInstanceUID == sent[uid].StudyInstanceUID
    return uid


def _only_what_nobody_was_told_of_is_left_over(built: Deployment, sent: dict[str, Dataset]) -> None:
    kept = {key.rpartition("/")[2] for key in built.store.keys(keys.arrivals_prefix("local"))}
    orphans = built.ledger.arrivals_not_kept(sorted(kept))
    assert len(kept) - len(orphans) == len(sent)
