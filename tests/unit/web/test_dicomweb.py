"""STOW-RS, by bodies made by hand."""

from __future__ import annotations

import io
import time
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
from flask.testing import FlaskClient
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
)

from fractureai.domain.examinations import Quiet
from fractureai.domain.identity import examination_id
from fractureai.errors import TransientFailure
from fractureai.web.app import WebPorts

STUDY, OTHER = "1.2.826.0.1.1", "1.2.826.0.1.2"


def instance(number: int, study: str = STUDY, sop_class: str = ComputedRadiographyImageStorage, **named: Any) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = named.get("syntax", ExplicitVRLittleEndian)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"{study}.{number}"
    dataset.StudyInstanceUID = study
    dataset.Modality = "CR"
    dataset.PatientName = "Nobody^Known"
    dataset.BitsAllocated = 8
    dataset.PixelData = b"\0" * named.get("size_bytes", 64)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def send(
    client: FlaskClient,
    *parts: bytes,
    address: str = "/dicomweb/studies",
    media_type: str = "application/dicom",
    **named: Any,
) -> Any:
    mark = b"--0815"
    body = b"".join(mark + b"\r\nContent-Type: " + media_type.encode() + b"\r\n\r\n" + part + b"\r\n" for part in parts)
    kind = named.pop("content_type", 'multipart/related; type="application/dicom"; boundary=0815')
    return client.post(address, data=body + mark + b"--\r\n", content_type=kind, **named)


def instances_of(answer: Any, tag: str) -> list[str]:
    items = answer.get_json(force=True).get(tag, {"Value": []})["Value"]
    return [item["00081155"]["Value"][0] for item in items]


def reasons(answer: Any) -> list[int]:
    items = answer.get_json(force=True)["00081198"]["Value"]
    return [item["00081197"]["Value"][0] for item in items]


def arrived(ports: WebPorts, study: str = STUDY) -> list[str]:
    """Sizes and hashes of what waits in an examination."""
    late = time.time() + 10_000
    due = ports.ledger.due_examinations(now_s=late, limit=10)
    identity = examination_id("local", study)
    if identity not in due:
        return []
    closing = ports.ledger.close_examination(
        identity, batch_id=uuid4().hex, study_id=uuid4().hex, now_s=late, lease_s=1
    )
    assert closing is not None
    return [f"{image.caller} {image.modality}" for image in closing.images]


def test_instances_are_stored_and_wait_for_their_examination(ports: WebPorts, client: FlaskClient) -> None:
    answer = send(client, instance(1), instance(2), instance(3, OTHER))
    assert answer.status_code == 200
    assert answer.mimetype == "application/dicom+json"
    assert instances_of(answer, "00081199") == [f"{STUDY}.1", f"{STUDY}.2", f"{OTHER}.3"]
    body = answer.get_json(force=True)
    assert body["00081190"] == {"vr": "UR"}
    assert body["00081199"]["Value"][0]["00081150"]["Value"] == [ComputedRadiographyImageStorage]
    assert arrived(ports) == ["STOW-RS CR", "STOW-RS CR"]
    assert arrived(ports, OTHER) == ["STOW-RS CR"]


def test_what_is_sent_again_is_not_analysed_again(ports: WebPorts, client: FlaskClient) -> None:
    for _ in range(2):
        answer = send(client, instance(1), instance(1))
        assert (answer.status_code, instances_of(answer, "00081199")) == (200, [f"{STUDY}.1"] * 2)
    assert len(arrived(ports)) == 1
    assert len(list(ports.store.keys("sites/local/arrivals/"))) == 1


def test_an_address_with_a_study_takes_only_that_study(ports: WebPorts, client: FlaskClient) -> None:
    answer = send(client, instance(1), instance(2, OTHER), address=f"/dicomweb/studies/{STUDY}")
    assert answer.status_code == 202
    assert instances_of(answer, "00081199") == [f"{STUDY}.1"]
    assert instances_of(answer, "00081198") == [f"{OTHER}.2"]
    assert reasons(answer) == [0xA900]
    assert arrived(ports, OTHER) == []
    assert send(client, instance(2), address="/dicomweb/studies/not-a-uid").status_code == 404


def test_what_is_no_radiograph_is_refused_and_the_rest_is_kept(ports: WebPorts, client: FlaskClient) -> None:
    answer = send(client, instance(1, sop_class=CTImageStorage), instance(2), b"no DICOM at all")
    assert answer.status_code == 202
    assert reasons(answer) == [0x0122]
    others = answer.get_json(force=True)["0008119A"]["Value"]
    assert others == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert len(list(ports.store.keys("sites/local/arrivals/"))) == 1


def test_nothing_stored_is_a_conflict(client: FlaskClient, ports: WebPorts) -> None:
    answer = send(client, instance(1, sop_class=CTImageStorage))
    assert (answer.status_code, instances_of(answer, "00081198")) == (409, [f"{STUDY}.1"])
    answer = send(client, b"{}", media_type="application/dicom+json")
    assert answer.status_code == 409
    assert list(ports.store.keys("sites/local/arrivals/")) == []


def test_the_answer_may_be_xml(client: FlaskClient) -> None:
    answer = send(client, instance(1), headers={"Accept": "application/dicom+xml"})
    assert answer.mimetype == "application/dicom+xml"
    root = ET.fromstring(answer.data)
    name = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    assert root.tag == f"{name}NativeDicomModel"
    found = root.find(
        f"{name}DicomAttribute[@tag='00081199']/{name}Item/{name}DicomAttribute[@tag='00081155']/{name}Value"
    )
    assert found is not None
    assert found.text == f"{STUDY}.1"
    assert send(client, instance(1), headers={"Accept": "text/csv"}).status_code == 406


def test_private_data_before_the_uids_are_read_past(client: FlaskClient, ports: WebPorts) -> None:
    dataset = dcmread(io.BytesIO(instance(1)))
    dataset.private_block(0x0009, "ACME", create=True).add_new(1, "OB", bytes(3 << 20))
    stream = io.BytesIO()
    dataset.save_as(stream)
    answer = send(client, stream.getvalue())
    assert (answer.status_code, instances_of(answer, "00081199")) == (200, [f"{STUDY}.1"])
    assert arrived(ports) == ["STOW-RS CR"]


def test_any_transfer_syntax_is_told_by_its_head(client: FlaskClient) -> None:
    assert send(client, instance(1, syntax=DeflatedExplicitVRLittleEndian)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("application/dicom+json", 415),
        ("multipart/form-data; boundary=0815", 415),
        ('multipart/related; type="application/dicom+json"; boundary=0815', 415),
        ("multipart/related; boundary=0815", 200),
        ("multipart/related", 400),
        ("multipart/related; boundary=another", 400),
    ],
)
def test_other_forms_are_refused_with_what_is_wanted(client: FlaskClient, kind: str, status: int) -> None:
    answer = send(client, instance(1), content_type=kind)
    assert answer.status_code == status
    if status >= 400:
        assert answer.mimetype == "application/problem+json"


CLIENTS = {
    "PS3.18 and Orthanc": 'multipart/related; type="application/dicom"; boundary=0815',
    "dicomweb-client for Python": 'multipart/related; type="application/dicom"; boundary="0815"',
    "dicomweb-client for JavaScript, OHIF": "multipart/related; type=application/dicom; boundary=0815",
    "curl as dcm4chee shows it": "multipart/related; type=application/dicom;boundary=0815",
    "dwv, Weasis and scripts": "multipart/related;type=application/dicom;boundary=0815;",
    "MITK": "multipart/related; type='application/dicom'; boundary='0815'",
    "fo-dicom and .NET": 'multipart/related; boundary="0815"; type="application/dicom"',
    "Java Mail": 'Multipart/Related; Type="application/dicom";\tBoundary="0815"; start="<1@host>"',
    "a transfer syntax in it": 'multipart/related; type="application/dicom; transfer-syntax=*"; boundary=0815',
    "a transfer syntax beside it": 'multipart/related; type="application/dicom"; transfer-syntax=*; boundary=0815',
    "no type": "multipart/related; boundary=0815",
}


@pytest.mark.parametrize("content_type", CLIENTS.values(), ids=CLIENTS)
def test_content_types_of_real_clients(client: FlaskClient, content_type: str) -> None:
    answer = send(client, instance(1), content_type=content_type)
    assert (answer.status_code, instances_of(answer, "00081199")) == (200, [f"{STUDY}.1"])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"Content-Type:\r\n",
        b"Content-Type: application/octet-stream\r\nContent-Disposition: form-data; name=file; filename=a.dcm\r\n",
        b"content-type: APPLICATION/DICOM;transfer-syntax=1.2.840.10008.1.2.1\r\nContent-Length: 99\r\n",
        b'Content-Type: "application/dicom"\r\nMIME-Version: 1.0\r\nContent-ID: <1>\r\n',
    ],
)
def test_headers_of_parts_of_real_clients(client: FlaskClient, head: bytes) -> None:
    data = b"This is a preamble.\r\n--0815\r\n" + head + b"\r\n" + instance(1) + b"\r\n--0815--\r\nAn epilogue."
    answer = client.post("/dicomweb/studies", data=data, content_type="multipart/related; boundary=0815")
    assert (answer.status_code, instances_of(answer, "00081199")) == (200, [f"{STUDY}.1"])


def test_one_instance_may_be_the_whole_body(client: FlaskClient, ports: WebPorts) -> None:
    answer = client.post("/dicomweb/studies", data=instance(1), content_type="application/dicom")
    assert (answer.status_code, instances_of(answer, "00081199")) == (200, [f"{STUDY}.1"])
    assert arrived(ports) == ["STOW-RS CR"]


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        ("multipart/form-data; boundary=0815", "“multipart/form-data; boundary=0815”"),
        ('multipart/related; type="application/dicom+json"; boundary=0815', "application/dicom+json"),
        ("multipart/related; boundary=other", "“other”"),
        ("multipart/related", "names no boundary"),
    ],
)
def test_a_refusal_says_what_was_wrong(client: FlaskClient, content_type: str, said: str) -> None:
    detail = send(client, instance(1), content_type=content_type).json["detail"]
    assert said in detail
    assert "Send files as" not in detail


def test_a_request_without_parts_is_told_so(client: FlaskClient) -> None:
    answer = send(client)
    assert (answer.status_code, answer.json["code"]) == (422, "no_images")


def test_what_is_too_large_or_has_no_room_is_a_failure_of_that_instance(client_with: Any, away: Any) -> None:
    small = client_with({"max_file_bytes": 2000})
    answer = send(small, instance(1, size_bytes=5000), instance(2))
    assert (answer.status_code, reasons(answer), instances_of(answer, "00081199")) == (202, [0xA700], [f"{STUDY}.2"])
    few = client_with({"max_files": 1})
    assert send(few, instance(1), instance(2)).json["code"] == "too_many_files"


def test_a_store_that_fails_in_the_middle_is_told_of_each_instance(
    client: FlaskClient, ports: WebPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = ports.ledger.instance_arrived
    calls: list[int] = []

    def sometimes(arrival: Any, quiet: Quiet) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise TransientFailure("ledger_unavailable")
        return inner(arrival, quiet)

    monkeypatch.setattr(ports.ledger, "instance_arrived", sometimes)
    answer = send(client, instance(1), instance(2))
    assert (answer.status_code, reasons(answer), instances_of(answer, "00081199")) == (202, [0xA700], [f"{STUDY}.2"])
    assert len(list(ports.store.keys("sites/local/arrivals/"))) == 1
