"""What becomes of each object that is sent, over DIMSE and DICOMweb: said by the peer, and seen there."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from fractureai.dicom.delivery import PeerSender
from fractureai.dicom.peers import Destination, Peers
from fractureai.domain.ports import OutgoingObject
from fractureai.domain.records import ObjectState
from fractureai.errors import BrokenDeployment, TransientFailure
from tests.dicom_programs import dcmtk, needs_dcmtk
from tests.processes import free_port
from tests.unit.dicom.conftest import dimse

Outgoing = Callable[[int], list[OutgoingObject]]
STORED, VERIFIED = ObjectState.STORED, ObjectState.VERIFIED
REFUSED, REJECTED = ObjectState.REFUSED, ObjectState.REJECTED


class Archive:
    """A peer that answers as it is told, and knows what it has."""

    def __init__(self, *, answers: bool, knows: bool = True) -> None:
        self.status: dict[int, int] = {}
        self.has: list[str] = []
        self._knows = knows
        self._count = 0
        entity = AE("PACS")
        entity.add_supported_context(EncapsulatedPDFStorage)
        if answers:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def _store(self, event: Any) -> int:
        self._count += 1
        status = self.status.get(self._count, 0)
        if status == 0:
            self.has.append(str(event.request.AffectedSOPInstanceUID))
        return status

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        wanted = event.identifier.SOPInstanceUID
        if self._knows and wanted in self.has:
            yield 0xFF00, event.identifier
        yield 0x0000, None


@pytest.fixture
def archives() -> Iterator[Callable[..., Archive]]:
    made: list[Archive] = []

    def make(**named: Any) -> Archive:
        made.append(Archive(**named))
        return made[-1]

    yield make
    for archive in made:
        archive.server.shutdown()


def send(destination: Destination, objects: list[OutgoingObject]) -> list[tuple[ObjectState, str]]:
    sender = PeerSender(Peers(destination=(destination,)), "FRACTUREAI")
    outcome = sender.send(destination.name, objects)
    assert [each.name for each in outcome] == [each.name for each in objects]
    return [(each.state, each.detail) for each in outcome]


def test_one_refused_instance_is_a_failure_of_that_one(archives: Callable[..., Archive], outgoing: Outgoing) -> None:
    archive = archives(answers=False)
    archive.status = {2: 0xA700, 3: 0x0111}
    got = send(dimse(archive.port), outgoing(4))
    assert got == [(STORED, ""), (REFUSED, "status 0xA700"), (STORED, "status 0x0111"), (STORED, "")]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0xA700, REFUSED),
        (0x0110, REFUSED),
        (0x0122, REJECTED),
        (0x0124, REJECTED),
        (0xA900, REJECTED),
        (0xC001, REJECTED),
        (0xB007, STORED),
    ],
)
def test_a_status_says_whether_sending_again_may_help(
    archives: Callable[..., Archive], outgoing: Outgoing, status: int, expected: ObjectState
) -> None:
    archive = archives(answers=False)
    archive.status = {1: status}
    assert send(dimse(archive.port), outgoing(1)) == [(expected, f"status 0x{status:04X}")]


def test_what_is_there_is_verified_and_what_is_not_is_no_success(
    archives: Callable[..., Archive], outgoing: Outgoing
) -> None:
    objects = outgoing(2)
    assert send(dimse(archives(answers=True).port), objects) == [(VERIFIED, "")] * 2
    lying = archives(answers=True, knows=False)
    assert send(dimse(lying.port), objects) == [(REFUSED, "said to be stored, but not found there")] * 2
    assert send(dimse(lying.port, check="off"), objects) == [(STORED, "")] * 2
    silent = archives(answers=False)
    assert send(dimse(silent.port, check="required"), objects) == [(REFUSED, "it could not be checked")] * 2


def test_a_peer_that_takes_other_kinds_only(outgoing: Outgoing) -> None:
    entity = AE("PACS")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.1")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        got = send(dimse(server.server_address[1]), outgoing(1))
    finally:
        server.shutdown()
    assert got == [(REJECTED, "the destination does not take objects of this kind")]


def test_nobody_there_is_no_answer_about_any_object_and_is_left_alone_for_a_while(outgoing: Outgoing) -> None:
    now = [0.0]
    sender = PeerSender(Peers(destination=(dimse(free_port()),)), "FRACTUREAI", clock=lambda: now[0])
    for expected in ("could not be reached", "could not be reached a moment ago"):
        with pytest.raises(TransientFailure) as failed:
            sender.send("pacs", outgoing(1))
        assert failed.value.detail == expected
    with pytest.raises(BrokenDeployment, match="no destination “other”"):
        sender.send("other", [])


@needs_dcmtk
def test_dcmtk_takes_them_and_a_broken_association_is_seen(outgoing: Outgoing, tmp_path: Path) -> None:
    folder = tmp_path / "received"
    folder.mkdir()
    for options, expected in (([], STORED), (["--abort-after"], REFUSED)):
        port = free_port()
        command = [str(dcmtk("storescp")), *options, "-od", str(folder), "-aet", "PACS", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            got = send(dimse(port), outgoing(2))
        finally:
            server.kill()
            server.wait()
        assert got[1][0] is expected
    assert len(list(folder.iterdir())) >= 2


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError("the program does not listen")


class Web(http.server.BaseHTTPRequestHandler):
    """A DICOMweb service that answers as the test says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        self._answer(*self.server.stow)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self._answer(*self.server.qido)  # type: ignore[attr-defined]

    def _answer(self, status: int, document: Any) -> None:
        data = json.dumps(document).encode() if document is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def web() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.got, server.stow, server.qido = [], (200, {}), (200, [{}])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def dicomweb(server: Any, **changes: Any) -> Destination:
    url = f"http://127.0.0.1:{server.server_port}/root/"
    return Destination(name="web", kind="dicomweb", url=url, timeout_s=5).model_copy(update=changes)


def failed(uid: str, reason: int) -> dict[str, Any]:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def test_stow_says_of_each_what_became_of_it(web: Any, outgoing: Outgoing, tmp_path: Path) -> None:
    (each,) = outgoing(1)
    secret = tmp_path / "secret"
    secret.write_text("a token\n")
    assert send(dicomweb(web, auth="bearer", auth_file=secret), [each]) == [(VERIFIED, "")]
    ((path, headers, body),) = web.got
    assert path == "/root/studies"
    assert headers["Authorization"] == "Bearer a token"
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary="')
    assert each.path.read_bytes() in body
    # The request may succeed although the instance was refused.
    for status, answer, expected in (
        (202, failed(each.sop_instance_uid, 0xA700), (REFUSED, "reason 0xA700")),
        (409, failed(each.sop_instance_uid, 0x0111), (VERIFIED, "")),
        (409, failed(each.sop_instance_uid, 0x0122), (REJECTED, "reason 0x0122")),
        (409, None, (REJECTED, "HTTP 409")),
        (400, None, (REJECTED, "HTTP 400")),
        (403, None, (REJECTED, "HTTP 403")),
        (415, None, (REJECTED, "HTTP 415")),
        (302, None, (REJECTED, "HTTP 302")),
        (401, None, (REFUSED, "HTTP 401")),
        (404, None, (REFUSED, "HTTP 404")),
    ):
        web.stow = (status, answer)
        assert send(dicomweb(web), [each]) == [expected]
    web.stow = (503, None)
    with pytest.raises(TransientFailure, match="HTTP 503"):
        send(dicomweb(web), [each])


@pytest.mark.parametrize(
    ("status", "found", "auto", "required"),
    [(200, [], REFUSED, REFUSED), (204, None, REFUSED, REFUSED), (404, None, STORED, REFUSED)],
)
def test_a_stow_that_stored_nothing_is_found_out(
    web: Any, outgoing: Outgoing, status: int, found: Any, auto: ObjectState, required: ObjectState
) -> None:
    web.qido = (status, found)
    objects = outgoing(1)
    assert send(dicomweb(web), objects)[0][0] is auto
    assert send(dicomweb(web, check="required"), objects)[0][0] is required
