"""Results on their way to a destination: what is sent again, what is not, and what nobody is to have any more."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from fractureai.dicom.delivery import PeerSender
from fractureai.dicom.peers import Peers
from fractureai.domain import keys
from fractureai.domain.dicom_objects import DicomKind
from fractureai.domain.ports import OutgoingObject
from fractureai.domain.records import Channel, DeliveredObject, DeliveryState, ObjectState, Subscriber
from fractureai.domain.study import Stage, WorkState
from fractureai.stages import classify, deliver, detect, examinations, explain, report
from fractureai.storage.ledger.sql import SqlLedger
from tests.bad_files import phantom_dicom
from tests.dicom_programs import dcmtk, needs_dcmtk
from tests.integration.waiting import until
from tests.processes import free_port
from tests.unit.dicom.conftest import dimse
from tests.unit.stages.arriving import QUIET, arrive, unpack
from tests.unit.stages.conftest import House


@dataclass
class Peer:
    """A destination that answers as the test says; everything else is taken."""

    answers: dict[str, DeliveredObject] = field(default_factory=dict)
    kinds: frozenset[DicomKind] = frozenset({DicomKind.SR, DicomKind.PDF, DicomKind.SUMMARY})
    sent: list[list[str]] = field(default_factory=list)

    def wanted(self, destination: str) -> frozenset[DicomKind]:
        assert destination == "pacs"
        return self.kinds

    def send(self, destination: str, objects: Sequence[OutgoingObject]) -> list[DeliveredObject]:
        assert destination == "pacs"
        self.sent.append([each.name for each in objects])
        return [self.answers.get(each.name, DeliveredObject(each.name, ObjectState.STORED)) for each in objects]


class Storescp:
    """dcmtk's archive, which can be had killed when it has received so many objects."""

    def __init__(self, folder: Path, syntaxes: str = "+xa") -> None:
        self._syntaxes = syntaxes
        self.port = free_port()
        self._folder = folder / "received"
        self._folder.mkdir()

    def objects(self) -> list[Path]:
        return list(self._folder.glob("*.dcm"))

    @contextlib.contextmanager
    def running(self, *, until_objects: int = 1000) -> Iterator[None]:
        kill = f"test $(ls {self._folder} | wc -l) -lt {until_objects} || kill -9 $PPID"
        where = ["-od", self._folder, "-fe", ".dcm", "-aet", "PACS", self.port]
        words = [str(word) for word in (dcmtk("storescp"), self._syntaxes, "-xs", "-xcr", kill, *where)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(self._listens, every_s=0.02)
            yield
        finally:
            process.kill()
            process.wait()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False


@pytest.fixture
def sending(house: House, tmp_path: Any) -> Iterator[House]:
    """A house whose results go to a peer and to whoever listens."""
    house.ledger.close()
    subscribers = (Subscriber(Channel.DICOM, "pacs", only_done=True), Subscriber(Channel.WEBHOOK))
    house.ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}", subscribers=subscribers)
    house.policy = dataclasses.replace(
        house.policy, quiet=QUIET, results_attempts=3, results_backoff_s=10, delivery_attempts=3
    )
    house.sender = Peer()
    yield house
    house.ledger.close()


@pytest.fixture
def peer(sending: House) -> Peer:
    assert isinstance(sending.sender, Peer)
    return sending.sender


def deliver_due(house: House) -> list[str]:
    """Deliver what is due for the peer now; what became of each."""
    house.now_s += 1
    due = house.ledger.due_deliveries(now_s=house.now_s, limit=50)
    return [deliver.run(each, house) for each in due if each.endswith("-pacs")]


def read(house: House, study_id: str = "") -> str:
    """A study, or this one, read to its end; its id."""
    study_id = study_id or house.accepted(phantom_dicom()).study_id
    assert [run(study_id, house) for run in (classify.run, detect.run, explain.run, report.run)] == ["done"] * 4
    return study_id


# What a peer will not take.


@pytest.mark.parametrize("state", [ObjectState.REFUSED, ObjectState.REJECTED])
def test_what_was_taken_is_not_sent_again(sending: House, peer: Peer, state: ObjectState) -> None:
    """Nor what the peer will never take; a person may have it tried again."""
    study_id = read(sending)
    peer.answers = {"sr": DeliveredObject("sr", state, "status 0x0122")}
    final = state is ObjectState.REJECTED
    assert deliver_due(sending) == ["failed" if final else "retry"]
    (row,) = [each for each in sending.ledger.undelivered(site="local", limit=9) if each.destination]
    assert row.last_error == "1 of 3 refused: sr (status 0x0122)"
    assert (row.state, row.attempts) == (DeliveryState.GIVEN_UP if final else DeliveryState.OPEN, 1)
    sending.now_s += 20
    assert deliver_due(sending) == ([] if final else ["retry"])
    peer.answers = {}
    if final:
        assert sending.ledger.retry_delivery(row.delivery_id, site="local", now_s=sending.now_s)
    sending.now_s += 100
    assert deliver_due(sending) == ["done"]
    assert sorted(peer.sent[0]) == ["pdf", "sr", "summary"]
    assert peer.sent[1:] == [["sr"]] * (1 if final else 2)
    assert [event.what for event in sending.ledger.history(study_id, site="local")][-1] == "sent"


def test_what_may_still_be_taken_is_tried_on_beside_what_will_not(sending: House, peer: Peer) -> None:
    read(sending)
    peer.answers = {
        "sr": DeliveredObject("sr", ObjectState.REJECTED, "status 0x0122"),
        "pdf": DeliveredObject("pdf", ObjectState.REFUSED, "status 0xA700"),
    }
    assert deliver_due(sending) == ["retry"]
    peer.answers = {}
    sending.now_s += 20
    assert deliver_due(sending) == ["failed"]
    assert peer.sent[1:] == [["pdf"]]
    (row,) = [each for each in sending.ledger.undelivered(site="local", limit=9) if each.destination]
    assert (row.state, row.last_error) == (DeliveryState.GIVEN_UP, "1 of 3 refused: sr (status 0x0122)")


@needs_dcmtk
def test_a_destination_that_is_killed_in_the_middle_of_a_delivery_has_all_of_it_in_the_end(
    sending: House, tmp_path: Path
) -> None:
    read(sending)
    archive = Storescp(tmp_path)
    sending.sender = PeerSender(Peers(destination=(dimse(archive.port),)), "FRACTUREAI", clock=sending.clock)
    with archive.running(until_objects=2):
        assert deliver_due(sending) == ["retry"]
    (row,) = [each for each in sending.ledger.undelivered(site="local", limit=9) if each.destination]
    before = {each.name: each.state for each in sending.ledger.delivered_objects(row.delivery_id)}
    lost = [name for name, state in before.items() if state is ObjectState.REFUSED]
    assert lost
    assert [state for state in before.values() if state is ObjectState.STORED]
    sending.now_s += 100
    assert deliver_due(sending) == ["retry"]  # nobody is there
    sending.now_s += 100
    received = len(archive.objects())
    with archive.running():
        assert deliver_due(sending) == ["done"]
    after = sending.ledger.delivered_objects(row.delivery_id)
    assert {each.state for each in after} == {ObjectState.STORED}
    assert len(archive.objects()) == len(after) == len(before)
    assert received >= len(before) - len(lost)


@needs_dcmtk
@pytest.mark.parametrize("syntaxes", ["+x=", "+xi"])
def test_an_archive_that_takes_nothing_compressed_has_the_captures_uncompressed(
    sending: House, tmp_path: Path, syntaxes: str
) -> None:
    study_id = read(sending)
    archive = Storescp(tmp_path, syntaxes)
    sending.sender = PeerSender(Peers(destination=(dimse(archive.port),)), "FRACTUREAI", clock=sending.clock)
    with archive.running():
        assert deliver_due(sending) == ["done"]
    received = {each.SOPInstanceUID: each for each in map(dcmread, archive.objects())}
    for name in ("overlay-1", "summary"):
        with sending.store.as_file(keys.dicom_object("local", study_id, name)) as path:
            ours = dcmread(path)
        theirs = received[ours.SOPInstanceUID]
        assert ours.file_meta.TransferSyntaxUID.is_compressed
        assert not theirs.file_meta.TransferSyntaxUID.is_compressed
        assert theirs.LossyImageCompression == "01"
        assert (theirs.pixel_array == ours.pixel_array).all()


# What a later image has made old.


def revise(house: House, sop: str) -> str:
    """One more image of the examination, and its study; its id."""
    arrive(house, sop, phantom_dicom(seed=int(sop)))
    house.now_s += 20
    assert examinations.run(house) == 1
    return unpack(house)[-1]


def finish(house: House, study_id: str, state: WorkState = WorkState.DONE) -> None:
    held = house.ledger.claim(study_id, Stage.CLASSIFY, owner="a", now_s=house.now_s, lease_s=9.0)
    assert held is not None
    nothing: dict[str, Any] = {"assessment": None, "region": None, "max_fracture_probability": None, "reasons": []}
    assert house.ledger.finish(held, state, now_s=house.now_s, **nothing)


def told(house: House, study_id: str) -> list[tuple[str, str]]:
    return [(event.what, event.detail) for event in house.ledger.history(study_id, site="local")]


def test_results_of_a_superseded_revision_are_not_sent(sending: House, peer: Peer) -> None:
    first = revise(sending, "1")
    finish(sending, first)
    second = revise(sending, "2")
    finish(sending, second, WorkState.FAILED)
    third = revise(sending, "3")
    finish(sending, third)
    due = sending.ledger.due_deliveries(now_s=sending.now_s, limit=9)
    (delivery_id,) = [each for each in due if each.startswith(first) and each.endswith("-pacs")]
    assert deliver.run(delivery_id, sending) == "superseded"
    assert told(sending, first)[-1] == ("superseded", f"pacs: {third}")
    assert deliver.run(delivery_id, sending) == "not_due"
    assert peer.sent == []
    assert delivery_id not in {each.delivery_id for each in sending.ledger.undelivered(site="local", limit=9)}
    # Those who are told of studies, and have no results sent, are told of each.
    assert len([each for each in due if not each.endswith("-pacs")]) == 3


def test_the_newer_revision_is_waited_for_and_if_it_comes_to_nothing_the_older_is_sent(
    sending: House, peer: Peer
) -> None:
    read(sending, revise(sending, "1"))
    second = revise(sending, "2")
    assert deliver_due(sending) == ["retry"]
    (row,) = [each for each in sending.ledger.undelivered(site="local", limit=9) if each.destination]
    assert row.last_error == f"waits for {second}, which supersedes it"
    finish(sending, second, WorkState.FAILED)
    sending.now_s += 100
    assert deliver_due(sending) == ["done"]
    assert len(peer.sent) == 1


def test_it_is_not_waited_for_ever(sending: House, peer: Peer) -> None:
    read(sending, revise(sending, "1"))
    revise(sending, "2")
    outcomes = []
    for _ in range(4):
        outcomes += deliver_due(sending)
        sending.now_s += 1000
    assert outcomes == ["retry", "retry", "done"]
    assert len(peer.sent) == 1
