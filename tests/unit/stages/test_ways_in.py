"""Two files that share bytes, instance, study or patient, by every way in: the tables of docs/dicom.md, tried."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import re
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pynetdicom import AE

from fractureai.client import Client, Sorting
from fractureai.commands.watch_folder import Inbox
from fractureai.commands.watch_work import Watch
from fractureai.dicom.listener import Listener, ListenerSettings
from fractureai.domain import keys
from fractureai.domain.examinations import Quiet
from fractureai.domain.study import Stage, WorkState
from fractureai.imaging.decoder import ChildDecoder
from fractureai.stages import classify, examinations, inline, intake
from fractureai.stages.artifacts import Classification
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore
from tests.browser.samples import open_app, open_ports
from tests.serving import serving
from tests.unit.stages.conftest import House
from tests.unit.stages.named import radiograph

DOCS = Path(__file__).parents[3] / "docs" / "dicom.md"
_QUIET_S = 10.0
_LOOK_S = 100.0
_uids = itertools.count(1)

SAME: dict[str, Any] = {}
OTHER_INSTANCE = {"SOPInstanceUID": "sop 2"}
OTHER_STUDY = {"StudyInstanceUID": "study 2", "SeriesInstanceUID": "series 2"}
OTHER_PATIENT = {"PatientID": "PID-99", "PatientName": "Roe^Richard", "PatientBirthDate": "19500101"}
PAIRS: dict[str, tuple[int, dict[str, Any]]] = {
    "the same bytes": (1, SAME),
    "another picture, all UIDs the same": (2, SAME),
    "the same picture, another header": (1, {"ImageComments": "corrected"}),
    "another picture, the same SOP Instance UID in another study": (2, OTHER_STUDY),
    "the same of another patient": (2, OTHER_STUDY | OTHER_PATIENT),
    "another picture, all UIDs the same, of another patient": (2, OTHER_PATIENT),
    "another instance of the study": (2, OTHER_INSTANCE),
    "another instance, of another patient": (2, OTHER_INSTANCE | OTHER_PATIENT),
    "another instance and study, the same series": (2, OTHER_INSTANCE | {"StudyInstanceUID": "study 2"}),
    "another instance and study, of another patient": (2, OTHER_INSTANCE | OTHER_STUDY | OTHER_PATIENT),
}
"""What the second file is against the first: its picture and what its header says otherwise."""


@dataclasses.dataclass(frozen=True, order=True)
class Outcome:
    """A study: its views, how many files were set aside, and the codes of its reasons and of files left out."""

    views: int
    set_aside: int
    codes: tuple[str, ...] = ()


Send = Callable[["Service", Sequence[bytes]], None]


@dataclasses.dataclass
class Service:
    """Everything that lets files in, over one store and one ledger."""

    house: House
    client: Any
    url: str
    port: int
    folder: Path
    inline_results: list[Outcome] = dataclasses.field(default_factory=list)

    def work(self) -> list[Outcome]:
        """Do what scheduler, intake and the first stage would; the studies that were made."""
        house = self.house
        found, self.inline_results = self.inline_results, []
        house.now_s += _QUIET_S + 1
        examinations.run(house)
        left_out: list[str] = []
        for batch_id in [subject for subject, queue in house.queue.sent if queue == "intake"]:
            assert intake.run(batch_id, house) == "done"
            row = house.ledger.batch(batch_id, site="local")
            assert row is not None
            left_out += [reason.code for _, reason in row.rejected_uploads]
        house.queue.sent.clear()
        for row in house.ledger.studies(site="local", limit=200).rows:
            if row.stage is not Stage.CLASSIFY or row.state is not WorkState.OPEN:
                continue
            assert classify.run(row.study_id, house) == "done"
            data = json.loads(house.store.get(keys.classification_json("local", row.study_id)))
            found.append(outcome_of(Classification.from_json(data)))
        return [dataclasses.replace(each, codes=tuple(sorted({*each.codes, *left_out}))) for each in sorted(found)]


def outcome_of(found: Classification) -> Outcome:
    said = {reason.code for reason in (*found.notes, *(reason for image in found.images for reason in image.notes))}
    set_aside = [image.set_aside.code for image in found.images if image.set_aside]
    return Outcome(len(found.images) - len(set_aside), len(set_aside), tuple(sorted(said | set(set_aside))))


# The ways in.


def by_c_store(service: Service, files: Sequence[bytes]) -> None:
    entity = AE("XRAY1")
    entity.add_requested_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", service.port)
    assert association.is_established
    for data in files:
        assert association.send_c_store(pydicom.dcmread(io.BytesIO(data))).Status == 0
    association.release()


def by_stow(service: Service, files: Sequence[bytes]) -> None:
    parts = b"".join(b"--0815\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    kind = 'multipart/related; type="application/dicom"; boundary=0815'
    assert service.client.post("/dicomweb/studies", data=parts + b"--0815--\r\n", content_type=kind).status_code == 200


def _posted(service: Service, what: str, field: str, *files: tuple[str, bytes]) -> None:
    form = {field: [(io.BytesIO(data), name) for name, data in files]}
    answer = service.client.post(f"/api/v1/{what}", data=form, content_type="multipart/form-data")
    assert answer.status_code == 202


def _numbered(files: Sequence[bytes]) -> list[tuple[str, bytes]]:
    return [(f"{uuid.uuid4().hex}.dcm", data) for data in files]


def by_study(service: Service, files: Sequence[bytes]) -> None:
    _posted(service, "studies", "images", *_numbered(files))


def by_batch(service: Service, files: Sequence[bytes]) -> None:
    _posted(service, "batches", "files", *_numbered(files))


def by_zip(service: Service, files: Sequence[bytes]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in _numbered(files):
            archive.writestr(name, data)
    _posted(service, "batches", "files", ("all.zip", stream.getvalue()))


def by_folder(service: Service, files: Sequence[bytes]) -> None:
    for name, data in _numbered(files):
        (service.folder / name).write_bytes(data)
    watch = Watch(Inbox(service.folder, 1.0, lambda _: None), Client(service.url), Sorting(), lambda _: None)
    for now_s in (0.0, _LOOK_S):
        watch.round(now_s)


def by_analyze(service: Service, files: Sequence[bytes]) -> None:
    house = service.house
    studies, rejected = intake.unpack(house.batch(*_numbered(files)), house)
    for study in studies:
        result = inline.analyze(study, house, among=studies)
        codes = {reason.code for reason in result.finding.reasons} | {reason.code for _, reason in rejected}
        set_aside = sum(image.set_aside for image in result.images)
        service.inline_results.append(Outcome(len(result.views), set_aside, tuple(sorted(codes))))


WAYS: dict[str, dict[str, Send]] = {
    "C-STORE, STOW-RS": {"C-STORE": by_c_store, "STOW-RS": by_stow},
    "batch, ZIP, watched folder, `analyze`": {
        "batch": by_batch, "ZIP": by_zip, "watched folder": by_folder, "analyze": by_analyze,
    },
    "files of one study": {"study": by_study},
}  # fmt: skip
LATER: dict[str, dict[str, Send]] = {
    "C-STORE, STOW-RS": {"C-STORE": by_c_store},
    "batch, ZIP, watched folder, files of one study": {"batch": by_batch},
}
# What a column joins differs before the intake only, so that not every way is tried with every pair.
_FEW = ["the same bytes", "another picture, all UIDs the same", "the same of another patient"]
_TOGETHER = [
    (name, group, way)
    for name in PAIRS
    for group, ways in WAYS.items()
    for way in ways
    if name in _FEW or way not in {"ZIP", "watched folder"}
]
_LATER = [(name, group, way) for name in PAIRS for group, ways in LATER.items() for way in ways]
_LATER += [(name, "C-STORE, STOW-RS", "STOW-RS") for name in _FEW]
_LATER += [(name, "batch, ZIP, watched folder, files of one study", "study") for name in _FEW]


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    decoder = ChildDecoder()
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, decoder: ChildDecoder) -> Iterator[Service]:
    """One for all pairs: each pair has UIDs of its own."""
    root = tmp_path_factory.mktemp("ways")
    ledger = SqlLedger.open(f"sqlite:///{root / 'ledger.sqlite'}")
    house = House(LocalStore(root / "store", durable=False), ledger, decoder)
    quiet = Quiet(after_s=_QUIET_S)
    house.policy = dataclasses.replace(house.policy, quiet=quiet)
    house.models.by_region["hand"].probability = 0.05
    house.dicom_writer = None
    (root / "inbox").mkdir()
    samples = open_ports(root / "samples")
    samples.ledger.close()
    ports = dataclasses.replace(
        samples, store=house.store, ledger=ledger, queue=house.queue, clock=house.clock, policy=house.policy
    )
    app = open_app(ports)
    listener = Listener(ListenerSettings(port=0, quiet=quiet), house, house.clock, house.new_id)
    with ExitStack() as stack:
        url = stack.enter_context(serving(app))
        yield Service(house, app.test_client(), url, listener.port, root / "inbox")
        listener.close()
    ledger.close()


def pair(name: str) -> tuple[bytes, bytes]:
    """The two files, under UIDs nobody had before."""
    root = f"1.2.826.0.1.3680043.10.1.99.{next(_uids)}"
    uids = {"study 1": root, "series 1": f"{root}.1", "sop 1": f"{root}.1.1"}
    uids |= {"study 2": f"{root}.9", "series 2": f"{root}.9.1", "sop 2": f"{root}.1.2"}
    first = {"StudyInstanceUID": "study 1", "SeriesInstanceUID": "series 1", "SOPInstanceUID": "sop 1"}
    picture, changes = PAIRS[name]
    one, two = ({key: uids.get(value, value) for key, value in each.items()} for each in (first, first | changes))
    return radiograph(1, **one), radiograph(picture, **two)


def documented(heading: str) -> dict[tuple[str, str], list[Outcome]]:
    """A table of the documentation: what comes out, by pair and way."""
    section = DOCS.read_text().split(f"\n**{heading}**", 1)[1]
    _, _, table = section.partition("\n\n")
    lines = list(itertools.takewhile(lambda line: line.startswith("|"), table.splitlines()))
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        (row[0], way): [said for said in map(_outcome, cell.split(";")) if said]
        for row in rows
        for way, cell in zip(head[1:], row[1:], strict=True)
    }


def _outcome(text: str) -> Outcome | None:
    found = re.search(r"(\d+) views?(?:, (\d+) set aside)?", text)
    codes = tuple(sorted(re.findall(r"`(\w+)`", text)))
    return Outcome(int(found[1]), int(found[2] or 0), codes) if found else None


@pytest.mark.parametrize(("name", "group", "way"), _TOGETHER)
def test_two_files_that_come_together(service: Service, name: str, group: str, way: str) -> None:
    WAYS[group][way](service, pair(name))
    assert service.work() == documented("Together")[name, group]


@pytest.mark.parametrize(("name", "group", "way"), _LATER)
def test_a_file_that_comes_after_the_first_was_processed(service: Service, name: str, group: str, way: str) -> None:
    send = {name: send for ways in WAYS.values() for name, send in ways.items()}[way]
    first, second = pair(name)
    send(service, [first])
    assert service.work() == [Outcome(1, 0)]
    send(service, [second])
    assert service.work() == documented("Later")[name, group]


def test_the_tables_speak_of_every_pair_and_way() -> None:
    for heading, ways in (("Together", WAYS), ("Later", LATER)):
        assert documented(heading).keys() == set(itertools.product(PAIRS, ways))
