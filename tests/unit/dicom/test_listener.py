"""What the listener takes, what it refuses and how, and what it keeps of what it took."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from fractureai.dicom.headers import Head, NotUnderstood, belonging
from fractureai.dicom.peers import Caller, Peers
from fractureai.domain.examinations import examination_id
from fractureai.errors import TransientFailure
from tests.dicom_programs import dcmtk, needs_dcmtk, run
from tests.integration.waiting import until
from tests.unit.dicom.conftest import Post, radiograph, save, statuses


@needs_dcmtk
def test_dcmtk_is_answered_and_its_images_are_kept(post: Post, tmp_path: Path) -> None:
    echo = run("echoscu", "-v", "-aet", "XRAY1", "127.0.0.1", post.port)
    assert echo.returncode == 0
    assert "Success" in echo.stdout
    sent = radiograph()
    answer = run("storescu", "-v", "127.0.0.1", post.port, save(sent, tmp_path / "a.dcm"))
    assert answer.returncode == 0, answer.stdout
    (key,) = post.arrivals()
    with post.store.as_file(key) as path:
        dump = run("dcmdump", path)
        assert dump.returncode == 0
        assert "Marked^Name" in dump.stdout
        kept = dcmread(path)
    assert kept.PixelData == sent.PixelData
    assert kept.SOPInstanceUID == sent.SOPInstanceUID
    assert post.images() == [("local", 1)]


@needs_dcmtk
def test_many_senders_at_once_and_none_twice(post: Post, tmp_path: Path) -> None:
    study = generate_uid()
    folders = [tmp_path / f"sender{number}" for number in range(4)]
    for folder in folders:
        folder.mkdir()
        for number in range(15):
            save(radiograph(study=study), folder / f"{number}.dcm")
    for sending in (folders, folders[:1]):  # the second time what has come comes again
        senders = [
            subprocess.Popen(
                [str(dcmtk("storescu")), "-aet", "XRAY1", "+sd", "127.0.0.1", str(post.port), str(folder)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for folder in sending
        ]
        assert [(sender.communicate(timeout=60)[0], sender.returncode)[1] for sender in senders] == [0] * len(sending)
        assert len(post.arrivals()) == 60
    assert post.images() == [("local", 60)]


def test_encodings_come_as_they_are(post: Post) -> None:
    dataset = radiograph()
    dataset.compress(RLELossless)
    entity = AE("XRAY1")
    entity.add_requested_context(dataset.SOPClassUID, RLELossless)
    association = entity.associate("127.0.0.1", post.port)
    assert association.send_c_store(dataset).Status == 0
    association.release()
    with post.store.as_file(post.arrivals()[0]) as path:
        assert dcmread(path).file_meta.TransferSyntaxUID == RLELossless


@pytest.mark.parametrize("mib", [1, 3])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_private_data_before_the_uids_are_read_past(post: Post, mib: int, syntax: str) -> None:
    dataset = radiograph(study="1.2.826.0.1.77")
    block = dataset.private_block(0x0009, "ACME", create=True)
    # The StudyInstanceUID begins within the last bytes of the first MiB, or far behind it.
    block.add_new(1, "OB", bytes((mib << 20) - 300))
    block.add_new(2, "SQ", [radiograph()])
    dataset.file_meta.TransferSyntaxUID = syntax
    entity = AE("XRAY1")
    entity.add_requested_context(dataset.SOPClassUID, syntax)
    association = entity.associate("127.0.0.1", post.port)
    assert association.send_c_store(dataset).Status == 0
    association.release()
    (row,) = post.ledger.due_examinations(now_s=1e12, limit=10)
    assert row == examination_id("local", "1.2.826.0.1.77")


def test_a_uid_that_the_end_of_what_is_held_cuts_is_not_taken_for_a_shorter_one() -> None:
    dataset = radiograph(study="1.2.826.0.1.77.88.99")
    encoded = encode(dataset, False, True)
    assert encoded is not None
    cut = encoded.index(b"1.2.826.0.1.77.88.99") + 14
    with pytest.raises(NotUnderstood):
        belonging(BytesIO(encoded[:cut]), ExplicitVRLittleEndian, is_whole=False)
    assert belonging(BytesIO(encoded), ExplicitVRLittleEndian, is_whole=False).study_instance_uid.endswith("88.99")


def test_elements_without_end_before_the_uids_are_not_read_for_ever(post: Post) -> None:
    head = Head(lambda stream, is_whole: belonging(stream, ExplicitVRLittleEndian, is_whole=is_whole))
    for _ in range(3):
        head.write(b"\x09\x00\x10\x00LO\x00\x00" * 100_000)
    with pytest.raises(NotUnderstood, match="cannot be read"):
        head.identify()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"])
def test_newer_encodings_come_as_they_are(post: Post, syntax: str, tmp_path: Path) -> None:
    dataset = radiograph()
    dataset.PixelData = encapsulate([b"\xff\x0a a frame"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    entity = AE("XRAY1")
    entity.add_requested_context(dataset.SOPClassUID, syntax)
    association = entity.associate("127.0.0.1", post.port)
    assert [context.transfer_syntax for context in association.accepted_contexts] == [[syntax]]
    with pytest.MonkeyPatch.context() as patched:
        # pydicom does not know that the newest ones are explicit and little endian.
        patched.setattr("pydicom.uid.UID.is_transfer_syntax", property(lambda _: True))
        assert association.send_c_store(dataset).Status == 0
    association.release()
    (key,) = post.arrivals()
    with post.store.as_file(key) as path:
        assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax


def test_a_called_ae_title_may_be_demanded(post: Post) -> None:
    post.listen(called_ae_titles=frozenset({"FRACTUREAI", "FRACTURE 2"}))
    assert statuses(post.port, [radiograph()], called="FRACTURE 2") == [0]
    association = AE("XRAY1")
    association.add_requested_context(radiograph().SOPClassUID)
    refused = association.associate("127.0.0.1", post.port, ae_title="ELSEWHERE")
    answer = refused.acceptor.primitive
    assert refused.is_rejected
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)
    post.listen()
    assert statuses(post.port, [radiograph()], called="ELSEWHERE") == [0]


def test_what_is_no_radiograph_is_refused_when_the_association_is_made(post: Post) -> None:
    entity = AE("XRAY1")
    for sop_class in (CTImageStorage, DigitalXRayImageStorageForPresentation):
        entity.add_requested_context(sop_class)
    association = entity.associate("127.0.0.1", post.port)
    rejected = [(context.abstract_syntax, context.result) for context in association.rejected_contexts]
    association.release()
    assert rejected == [(CTImageStorage, 3)]  # abstract syntax not supported


def test_what_is_wrong_with_an_instance_is_said_of_it_alone(post: Post) -> None:
    without_study, of_another_class, too_large, good = (
        radiograph(),
        radiograph(),
        radiograph(side_px=300),
        radiograph(),
    )
    del without_study.StudyInstanceUID
    post.listen(max_instance_bytes=100_000)
    entity = AE("XRAY1")
    entity.add_requested_context(good.SOPClassUID)
    association = entity.associate("127.0.0.1", post.port)
    got = [association.send_c_store(each).Status for each in (without_study, too_large, good)]
    # The data set says one class, the request another.
    of_another_class.SOPClassUID = good.SOPClassUID
    got.append(_send_with_other_uid(association, of_another_class))
    association.release()
    assert got == [0xC000, 0xA700, 0x0000, 0xA900]
    assert len(post.arrivals()) == 1
    assert post.images() == [("local", 1)]


def _send_with_other_uid(association: Any, dataset: Any) -> int:
    request = C_STORE()
    request.MessageID = 9
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = generate_uid()
    request.Priority = 2
    context = association.accepted_contexts[0]
    syntax = context.transfer_syntax[0]
    request.DataSet = BytesIO(encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian))
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return int(answer.Status)


class Away:
    """Stands in front of a store or a ledger and fails at one method."""

    def __init__(self, behind: Any, at: str) -> None:
        self._behind, self._at = behind, at

    def __getattr__(self, name: str) -> Any:
        if name == self._at:
            raise TransientFailure("store_unavailable")
        return getattr(self._behind, name)


@pytest.mark.parametrize("part", ["sink", "ledger"])
def test_nothing_is_promised_while_store_or_ledger_is_away(post: Post, part: str) -> None:
    dataset = radiograph()
    if part == "sink":
        post.ports.store = Away(post.store, "sink")
    else:
        post.ports.ledger = Away(post.ledger, "instance_arrived")
    assert statuses(post.port, [dataset]) == [0xA700]
    assert post.arrivals() == []
    assert post.images() == []
    post.ports.store, post.ports.ledger = post.store, post.ledger
    assert statuses(post.port, [dataset]) == [0]
    assert post.images() == [("local", 1)]


def test_callers_that_are_listed_are_let_in_and_have_their_sites(post: Post) -> None:
    callers = (
        Caller(ae_title="XRAY1", site="north"),
        Caller(ae_title="XRAY2", address="10.0.0.0/8", site="west"),
        Caller(address="127.0.0.0/8", ae_title="XRAY3", site="south"),
    )
    post.listen(peers=Peers(caller=callers))
    got = {title: statuses(post.port, [radiograph()], ae_title=title) for title in ("XRAY1", "XRAY2", "XRAY3", "OTHER")}
    assert got == {"XRAY1": [0], "XRAY2": [None], "XRAY3": [0], "OTHER": [None]}
    assert post.images() == [("north", 1), ("south", 1)]


def test_a_transfer_that_breaks_off_leaves_nothing(post: Post) -> None:
    dataset = radiograph(side_px=1500)
    left_bytes = len(dataset.PixelData) // 2

    def cut(event: evt.Event) -> None:
        nonlocal left_bytes
        left_bytes -= len(event.data)
        if left_bytes < 0:
            event.assoc.dul.socket.close()

    entity = AE("XRAY1")
    entity.add_requested_context(dataset.SOPClassUID)
    association = entity.associate("127.0.0.1", post.port, evt_handlers=[(evt.EVT_DATA_SENT, cut)])
    assert "Status" not in association.send_c_store(dataset)
    association.abort()
    incoming = Path(post.store._root) / ".incoming"
    until(lambda: not list(incoming.iterdir()), timeout_s=30)
    assert post.arrivals() == []
    assert post.images() == []


def test_a_huge_announcement_is_not_believed(post: Post) -> None:
    with socket.create_connection(("127.0.0.1", post.port), timeout=10) as wire:
        wire.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + b"x" * 1000)
        assert wire.recv(100) == b""  # closed, and nothing of 4 GiB was kept
    assert statuses(post.port, [radiograph()]) == [0]


@pytest.mark.parametrize("bound", ["max_associations", "max_associations_of_address"])
def test_more_associations_than_allowed_are_told_to_come_later(post: Post, bound: str) -> None:
    post.listen(**{bound: 1})
    entity = AE("XRAY1")
    entity.add_requested_context(radiograph().SOPClassUID)
    first = entity.associate("127.0.0.1", post.port)
    assert first.is_established
    second = entity.associate("127.0.0.1", post.port)
    assert second.is_rejected
    assert second.acceptor.primitive.result == 2
    elsewhere = entity.associate("127.0.0.1", post.port, bind_address=("127.0.0.2", 0))
    assert elsewhere.is_established == (bound == "max_associations_of_address")
    elsewhere.release()
    first.release()


def test_tls_with_certificates_on_both_sides(post: Post, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    post.listen(certificate_file=certificate, key_file=key, ca_file=certificate)
    assert statuses(post.port, [radiograph()]) == [None]  # in plain words
    context = ssl.create_default_context(cafile=certificate)
    assert _greeted_without_certificate(post.port, context) == b""
    context.load_cert_chain(certificate, key)
    assert statuses(post.port, [radiograph()], tls_args=(context, "localhost")) == [0]


def _greeted_without_certificate(port: int, context: ssl.SSLContext) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        try:
            with context.wrap_socket(wire, server_hostname="localhost") as secured:
                return secured.recv(10)
        except (ssl.SSLError, ConnectionError):
            return b""


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
