"""What archives, FHIR servers and the service itself answer to those who ask them, as a function of bytes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import cache

import httpx

from fractureai.client import Client, ServerRefused
from fractureai.dicom.peers import Destination
from fractureai.dicom.stow import StowClient
from fractureai.domain.ports import OutgoingObject
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.webhook.fhir_server import FhirServer
from tests.fuzz.corpus import scratch

_STATUSES = (200, 202, 204, 301, 304, 400, 409, 413, 429, 500, 503)


def read(data: bytes) -> None:
    """``data[0]``: who is asked; ``data[1]``: the status; the rest is the body."""
    if len(data) < 2:
        return
    status, body = _STATUSES[data[1] % len(_STATUSES)], data[2:]
    kind = ("application/dicom+json", "text/html; charset=x", "application/fhir+json; charset=utf-16")[data[1] % 3]

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"Content-Type": kind, "ETag": '"x"'})

    line = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://archive.example")
    with line as http_client, contextlib.suppress(TransientFailure, RejectedInput, ServerRefused):
        _ASKED[data[0] % len(_ASKED)](http_client)


@cache
def _askers() -> tuple[StowClient, FhirServer, Client]:
    """Made once: what costs most about them are the connections that are put aside here."""
    archive = StowClient(Destination(name="a", kind="dicomweb", url="http://127.0.0.1/dicom-web", check="required"))
    askers = archive, FhirServer("http://archive.example", "", "none"), Client("http://archive.example")
    for asker in askers:
        asker._http.close()
    return askers


def _ask_archive(http_client: httpx.Client) -> None:
    file = scratch() / "object.dcm"
    if not file.exists():
        file.write_bytes(b"DICM")
    archive, _, _ = _askers()
    archive._http = http_client
    (done,) = archive.store([OutgoingObject("sr", "1.2.3", "1.2.4", "1.2.5", file)])
    _shown(done.detail)


def _ask_fhir(http_client: httpx.Client) -> None:
    _, server, _ = _askers()
    server._http = http_client
    try:
        server.put({"resourceType": "DiagnosticReport", "identifier": [{"system": "a", "value": "b"}]})
    except (TransientFailure, RejectedInput) as error:
        _shown(error.detail)


def _shown(text: str) -> None:
    assert text.isprintable(), "what is shown is one line"


def _ask_service(call: Callable[[Client], object]) -> Callable[[httpx.Client], None]:
    def ask(http_client: httpx.Client) -> None:
        _, _, client = _askers()
        client._http = http_client
        call(client)

    return ask


_ASKED: tuple[Callable[[httpx.Client], None], ...] = (
    _ask_archive,
    _ask_fhir,
    _ask_service(lambda client: client.begin_upload()),
    _ask_service(lambda client: client.batch("b")),
    _ask_service(lambda client: next(client.studies_of("b"), None)),
    _ask_service(lambda client: client.results()),
    _ask_service(lambda client: client.study("s")),
    _ask_service(lambda client: client.retry_batch("b")),
)


@cache
def seeds() -> tuple[bytes, ...]:
    """What those who are asked answer, one by one."""
    failed = {"00081198": {"Value": [{"00081155": {"Value": ["1.2.3"]}, "00081197": {"Value": [272]}}]}}
    status = {"batch_id": "b", "finished": True, "counts": {"done": 1}, "rejected_uploads": []}
    upload = {"batch_id": "b", "token": "t", "upload_url": "u", "files_url": "f", "complete_url": "c"}
    issue = {"issue": [{"code": "invalid", "diagnostics": "no\nsuch", "details": {"text": "x"}}]}
    bodies = [
        (0, 0, failed),
        (0, 6, [{"00081198": {"Value": [{"00081197": {"Value": ["49152"]}}]}}]),
        (0, 0, [{"00080018": {"vr": "UI", "Value": ["1.2.3"]}}]),
        (1, 5, issue),
        (2, 0, upload),
        (3, 0, status),
        (4, 0, {"studies": [{"study_id": "s"}], "next_cursor": None}),
        (5, 0, {"studies": [], "next_cursor": "n", "more": False}),
        (6, 5, {"detail": "no such study", "code": "not_found"}),
        (7, 0, {"reopened": 3}),
    ]
    endless = (bytes([asked, status]) + b"[" * 20_000 for asked in range(len(_ASKED)) for status in (0, 5))
    return (*(bytes(place) + json.dumps(body).encode() for *place, body in bodies), *endless)
