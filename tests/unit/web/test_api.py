"""The API's answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from fractureai.domain import keys
from fractureai.domain.reasons import Reason
from fractureai.domain.study import Stage, WorkState
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, advance, finish, receive

NOBODY = "0" * 32
UNREAD = View("letter.png", probability=None, reasons=(Reason("unknown_type"),))


def image(name: str = "a.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(b"pixels"), name


def test_a_study_is_accepted(ports: WebPorts, client: FlaskClient) -> None:
    data = {"images": [image("front.dcm"), image("side.dcm")], "label": " Case 1 "}
    answer = client.post("/api/v1/studies", data=data)
    body = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == body["status_url"] == f"/api/v1/studies/{body['study_id']}"
    assert answer.headers["Retry-After"] == "1"
    study = ports.ledger.sources(body["study_id"], site="local")
    assert study is not None
    assert [(entry.number, entry.file_name, entry.size_bytes) for entry in study.images] == [
        (1, "front.dcm", 6),
        (2, "side.dcm", 6),
    ]
    assert study.label == "Case 1"
    assert ports.store.get(keys.source("local", study.study_id, 2)) == b"pixels"
    assert ports.queue.studies == [(study.study_id, Stage.CLASSIFY)]  # type: ignore[attr-defined]


def test_a_batch_is_accepted(ports: WebPorts, client: FlaskClient) -> None:
    answer = client.post("/api/v1/batches", data={"files": [image(), (io.BytesIO(b"PK\x03\x04"), "b.zip")]})
    assert answer.status_code == 202
    batch_id = answer.json["batch_id"]
    status = client.get(answer.headers["Location"]).json
    assert (status["state"], status["upload_count"], status["finished"]) == ("open", 2, False)
    assert status["counts"] == {"open": 0, "done": 0, "rejected": 0, "failed": 0}
    assert ports.queue.batches == [batch_id]  # type: ignore[attr-defined]


def test_the_queue_may_be_away(client_with: Callable[..., FlaskClient], away: Any) -> None:
    client = client_with(queue=away("queue_unavailable"))
    assert client.post("/api/v1/studies", data={"images": image()}).status_code == 202
    assert client.post("/api/v1/batches", data={"files": image()}).status_code == 202


@pytest.mark.parametrize(("address", "field"), [("/api/v1/studies", "images"), ("/api/v1/batches", "files")])
def test_a_ledger_that_is_away_refuses_and_leaves_nothing(
    ports: WebPorts, client_with: Callable[..., FlaskClient], away: Any, address: str, field: str
) -> None:
    class OnlyCounts(away):  # type: ignore[misc]
        def open_count(self) -> int:
            return 0

    answer = client_with(ledger=OnlyCounts("ledger_unavailable")).post(address, data={field: image()})
    assert (answer.status_code, answer.json["code"]) == (503, "ledger_unavailable")
    assert answer.headers["Retry-After"]
    assert list(ports.store.keys("")) == []


def test_a_store_that_is_away(client_with: Callable[..., FlaskClient], away: Any) -> None:
    answer = client_with(store=away("store_unavailable")).post("/api/v1/studies", data={"images": image()})
    assert (answer.status_code, answer.json["code"]) == (503, "store_unavailable")


def test_a_full_service_says_so(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    receive(ports, [View("a.png")])
    client = client_with({"max_open_studies": 1})
    for answer in (
        client.post("/api/v1/studies", data={"images": image()}),
        client.post("/api/v1/batches", data={"files": image()}),
        client.post("/api/v1/uploads"),
    ):
        assert (answer.status_code, answer.json["code"]) == (429, "busy")
        assert answer.headers["Retry-After"]


def test_a_status_can_be_polled_cheaply(ports: WebPorts, client: FlaskClient) -> None:
    study = receive(ports, [View("a.png")])
    address = f"/api/v1/studies/{study.study_id}"
    first = client.get(address)
    assert (first.json["state"], first.json["stage"], first.json["result"]) == ("open", "classify", None)
    assert first.headers["Retry-After"] == "1"
    again = client.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["Retry-After"]) == (304, b"", "1")
    advance(ports, study, Stage.EXPLAIN)
    moved = client.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (moved.status_code, moved.json["stage"]) == (200, "explain")


def test_a_final_study_shows_its_result_and_files(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9), UNREAD)
    answer = client.get(f"/api/v1/studies/{study.study_id}")
    body = answer.json
    assert "Retry-After" not in answer.headers
    assert (body["state"], body["assessment"], body["region"]) == ("done", "fracture", "hand")
    stored = json.loads(ports.store.get(keys.result_json("local", study.study_id)))
    assert body["result"] == stored == client.get(body["artifacts"]["result_json"]).json
    report = client.get(body["artifacts"]["report_pdf"])
    assert (report.mimetype, report.data[:5]) == ("application/pdf", b"%PDF-")
    assert report.headers["Content-Disposition"] == f'inline; filename="fractureai-{study.study_id[:8]}.pdf"'
    assessed, unread = body["artifacts"]["images"]
    kinds = {"image": "image/png", "heat": "image/png", "overlay": "image/jpeg", "roi": "image/png"}
    for kind, media_type in kinds.items():
        picture = client.get(assessed[kind])
        assert (picture.status_code, picture.mimetype, len(picture.data)) == (200, media_type, picture.content_length)
        assert picture.headers["Cache-Control"] == "no-store"
        assert unread[kind] is None


def test_one_missing_artifact_costs_only_itself(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9))
    ports.store.delete(keys.report_pdf("local", study.study_id))
    ports.store.delete(keys.heat_png("local", study.study_id, 1))
    body = client.get(f"/api/v1/studies/{study.study_id}").json
    assert body["artifacts"]["report_pdf"] is None
    assert client.get(body["artifacts"]["images"][0]["heat"]).json["code"] == "not_there_yet"
    assert client.get(body["artifacts"]["images"][0]["image"]).status_code == 200
    ports.store.delete(keys.result_json("local", study.study_id))
    body = client.get(f"/api/v1/studies/{study.study_id}").json
    assert (body["assessment"], body["result"], body["artifacts"]) == ("fracture", None, None)
    assert client.get(f"/studies/{study.study_id}").status_code == 200


def test_a_rejected_study_says_why(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, UNREAD, state=WorkState.REJECTED)
    body = client.get(f"/api/v1/studies/{study.study_id}").json
    assert (body["state"], body["reasons"][0]["code"]) == ("rejected", "unknown_type")
    assert body["result"]["images"][0]["reasons"][0]["sentence"].startswith("This is not a DICOM")
    assert body["artifacts"]["report_pdf"] is None


def test_a_failed_study_can_be_tried_again(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, UNREAD, state=WorkState.FAILED)
    answer = client.post(f"/api/v1/studies/{study.study_id}/retry")
    assert (answer.status_code, answer.json["state"]) == (202, "open")
    assert ports.queue.studies[-1] == (study.study_id, Stage.CLASSIFY)  # type: ignore[attr-defined]
    again = client.post(f"/api/v1/studies/{study.study_id}/retry")
    assert (again.status_code, again.json["code"]) == (409, "not_failed")


def test_the_list_pages_by_cursor(ports: WebPorts, client: FlaskClient) -> None:
    added = [add(ports, View("a.png")) for _ in range(5)]
    address, seen = "/api/v1/studies?limit=2", []
    while address:
        page = client.get(address).json
        seen += [study["study_id"] for study in page["studies"]]
        address = page["next"]
    assert sorted(seen) == sorted(study.study_id for study in added)
    one = client.get(f"/api/v1/batches/{added[2].batch_id}/studies").json
    assert [study["study_id"] for study in one["studies"]] == [added[2].study_id]
    assert client.get(f"/api/v1/studies?batch_id={added[2].batch_id}").json["studies"] == one["studies"]
    assert client.get("/api/v1/studies?state=open").json["studies"] == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=" + "0" * 5000 + "1", "state=odd", "cursor=odd", "batch_id=odd"]
)
def test_parameters_that_are_not_valid(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/api/v1/studies?{query}")
    assert (answer.status_code, answer.json["code"]) == (400, "bad_parameter")


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/nothing",
        f"/api/v1/studies/{NOBODY}",
        f"/api/v1/studies/{NOBODY.replace('0', 'G')}",
        "/api/v1/studies/../../etc/passwd",
        f"/api/v1/studies/{NOBODY}/report.pdf",
        f"/api/v1/studies/{NOBODY}/images/1/image.png",
        f"/api/v1/batches/{NOBODY}",
        f"/api/v1/batches/{NOBODY}/studies",
    ],
)
def test_what_is_not_there(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.json["code"], answer.mimetype) == (
        404,
        "not_found",
        "application/problem+json",
    )
    assert answer.json["type"] == "urn:fractureai:problem:not_found"


def test_another_sites_study_is_not_there(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    study = add(ports, View("a.png"))
    elsewhere = client_with({"site": "elsewhere"})
    base = f"/api/v1/studies/{study.study_id}"
    for address in (base, f"{base}/report.pdf", f"{base}/result.json", f"{base}/images/1/image.png"):
        assert elsewhere.get(address).status_code == 404
    assert elsewhere.get(f"/api/v1/batches/{study.batch_id}").status_code == 404
    assert elsewhere.post(f"{base}/retry").status_code == 404
    assert elsewhere.get("/api/v1/studies").json["studies"] == []


@pytest.mark.parametrize("name", ["secret.png", "1.png", "..%2f..%2fstudy.json", "image.png%00"])
def test_only_known_pictures(ports: WebPorts, client: FlaskClient, name: str) -> None:
    study = add(ports, View("a.png"))
    assert client.get(f"/api/v1/studies/{study.study_id}/images/1/{name}").status_code == 404
    assert client.get(f"/api/v1/studies/{study.study_id}/images/{10**20}/image.png").status_code == 404


def test_a_wrong_method_says_which_are_right(client: FlaskClient) -> None:
    answer = client.delete("/api/v1/studies")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_the_models_are_listed(client: FlaskClient) -> None:
    models = client.get("/api/v1/models").json["models"]
    assert [model["name"] for model in models] == ["region", "fracture-elbow", "fracture-hand", "fracture-shoulder"]
    assert models[1]["card"]["operating_points"]["fracture"]["threshold"] == 0.58


def test_an_unexpected_error_is_a_problem_too(client_with: Callable[..., FlaskClient]) -> None:
    class Odd:
        def cards(self) -> None:
            raise RuntimeError("secret detail")

    answer = client_with(models=Odd()).get("/api/v1/models")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert b"secret" not in answer.data


def test_absolute_addresses_where_a_public_one_is_known(client_with: Callable[..., FlaskClient]) -> None:
    client = client_with({"public_base_url": "https://xray.example/"})
    answer = client.post("/api/v1/studies", data={"images": image()}, headers={"Host": "evil.example"})
    assert answer.headers["Location"].startswith("https://xray.example/api/v1/studies/")


def test_health(client: FlaskClient, client_with: Callable[..., FlaskClient], away: Any) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ok", "store": "ok", "ledger": "ok"}
    answer = client_with(ledger=away("ledger_unavailable")).get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"status": "unavailable", "store": "ok", "ledger": "ledger_unavailable"}
    assert client_with(queue=away("queue_unavailable")).get("/readyz").status_code == 200
    answer = client_with(processes=lambda: {"inference": "silent", "reports": "ok"}).get("/readyz")
    assert (answer.status_code, answer.json["inference"]) == (503, "silent")


def test_a_batch_counts_and_tells_what_was_left_out(ports: WebPorts, client: FlaskClient) -> None:
    answer = client.post("/api/v1/batches", data={"files": [image(), image("notes.txt")], "label": "Monday"})
    batch_id = answer.json["batch_id"]
    claim = ports.ledger.claim_batch(batch_id, owner="test", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    ports.ledger.unpacked(claim, (), [("notes.txt", Reason("archive_member_skipped"))], now_s=ports.clock())
    study = receive(ports, [View("a.png")], batch_id=batch_id)
    status = client.get(f"/api/v1/batches/{batch_id}")
    assert (status.json["counts"]["open"], status.json["finished"], status.json["label"]) == (1, False, "Monday")
    assert status.json["rejected_uploads"][0]["file"] == "notes.txt"
    assert status.headers["Retry-After"]
    finish(ports, study, [View("a.png")])
    done = client.get(f"/api/v1/batches/{batch_id}", headers={"If-None-Match": status.headers["ETag"]})
    assert (done.status_code, done.json["counts"]["done"], done.json["finished"]) == (200, 1, True)
    assert "Retry-After" not in done.headers
