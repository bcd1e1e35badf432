"""Where names may not stay, files are called otherwise from the first moment on."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.web.app import WebPorts
from tests.unit.web.test_uploads_by_file import called

NAMES = Pseudonyms(bytes(32)).file_name


def test_no_name_of_a_file_is_kept(client_with: Callable[..., FlaskClient], ports: WebPorts) -> None:
    client = client_with(file_name=NAMES)
    study = client.post("/api/v1/studies", data={"images": (io.BytesIO(b"x"), "Musterfrau.dcm")}).json
    sources = ports.ledger.sources(study["study_id"], site="local")
    assert sources is not None
    assert sources.images[0].file_name == NAMES("local", "Musterfrau.dcm")
    batch = client.post("/api/v1/batches", data={"files": (io.BytesIO(b"x"), "Musterfrau/1.dcm")}).json
    claim = ports.ledger.claim_batch(batch["batch_id"], owner="t", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    assert claim.batch.uploads[0].file_name == NAMES("local", "Musterfrau/1.dcm")
    upload = client.post("/api/v1/uploads").json
    headers = {"Upload-Token": upload["token"]}
    answer: Any = client.put(f"{upload['files_url']}1", data=b"x", headers=headers | called("Musterfrau.dcm"))
    assert answer.json["file"] == NAMES("local", "Musterfrau.dcm")


def test_a_keyed_request_is_still_answered_again(client_with: Callable[..., FlaskClient], ports: WebPorts) -> None:
    client = client_with(file_name=NAMES)

    def send() -> Any:
        data = {"images": (io.BytesIO(b"x"), "Musterfrau.dcm")}
        return client.post("/api/v1/studies", data=data, headers={"Idempotency-Key": "once"})

    first, second = send(), send()
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json == second.json
    sources = [key for key in ports.store.keys("sites/local/studies/") if "/source/" in key]
    assert len(sources) == 1


def test_names_that_are_replaced_cannot_sort(client_with: Callable[..., FlaskClient]) -> None:
    data = {"files": (io.BytesIO(b"x"), "1_a.png"), "grouping": "pattern", "pattern": "{study}_*"}
    answer = client_with(file_name=NAMES).post("/api/v1/batches", data=data)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_parameter")
    assert "folders" in answer.json["detail"]
