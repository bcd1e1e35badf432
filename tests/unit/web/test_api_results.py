"""The API of what comes after the work: filters, results since a cursor, waiting, exports, verdicts, retry."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fractureai.domain import keys
from fractureai.domain.reasons import Reason
from fractureai.domain.study import WorkState
from fractureai.errors import TransientFailure
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, finish, receive
from tests.unit.web.test_uploads_by_file import called

NOBODY = "0" * 32
UNREAD = View("letter.png", probability=None, reasons=(Reason("unknown_type"),))


def ids(client: FlaskClient, query: str) -> list[str]:
    answer = client.get(f"/api/v1/studies?{query}")
    assert answer.status_code == 200, answer.json
    return [study["study_id"] for study in answer.json["studies"]]


def searched(client: FlaskClient, words: str) -> str:
    answer = client.post("/api/v1/searches", json={"q": words})
    assert answer.status_code == 200, answer.json
    return f"search={answer.json['search']}"


@pytest.mark.parametrize("words", [None, 3, ["a"], "x" * 201, "a\0b", "\ud800"])
def test_words_that_cannot_be_searched_for(client: FlaskClient, words: Any) -> None:
    answer = client.post("/api/v1/searches", json={"q": words})
    assert (answer.status_code, answer.json["code"]) == (400, "bad_parameter")


def test_a_search_leads_to_its_list_and_its_table(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png"), label="Anna")
    add(ports, View("b.png"), label="Berta")
    found = client.post("/api/v1/searches", json={"q": "anna"}).json
    assert "anna" not in str(found).lower()
    page = client.get(found["studies_url"] + "&limit=1").json
    assert [entry["study_id"] for entry in page["studies"]] == [study.study_id]
    assert [row["label"] for row in table(client.get(found["csv_url"]).data)] == ["Anna"]


def test_the_worklist_is_filtered_ordered_and_searched(ports: WebPorts, client: FlaskClient) -> None:
    normal = add(ports, View("a.png", probability=0.1), label="Anna")
    broken = add(ports, View("b.png", region="elbow", probability=0.9), label="Berta Größe")
    refused = add(ports, UNREAD, state=WorkState.REJECTED)
    assert ids(client, "order=most_suspicious") == [broken.study_id, refused.study_id, normal.study_id]
    assert ids(client, "assessment=fracture") == [broken.study_id]
    assert ids(client, "region=elbow&state=done") == [broken.study_id]
    assert ids(client, searched(client, "bert grosse")) == [broken.study_id]
    assert ids(client, searched(client, "letter") + "&region=") == [refused.study_id]
    assert ids(client, "from=2020-01-01&to=2020-12-31") == []
    assert len(ids(client, "from=2020-01-01T00:00:00Z&state=&search=&q=")) == 3
    page = client.get("/api/v1/studies?order=most_suspicious&limit=1&from=2020-01-01").json
    assert "order=most_suspicious" in page["next"]
    assert client.get(page["next"]).json["studies"][0]["study_id"] == refused.study_id


@pytest.mark.parametrize(
    "query",
    ["order=odd", "assessment=odd", "from=odd", "to=2020-13-01", "q=anna", "search=anna", "to=9999-12-31"],
)
def test_filters_that_are_not_valid(client: FlaskClient, query: str) -> None:
    for address in ("/api/v1/studies", "/api/v1/studies.csv"):
        answer = client.get(f"{address}?{query}")
        assert (answer.status_code, answer.json["code"]) == (400, "bad_parameter")


def test_a_cursor_belongs_to_its_order(ports: WebPorts, client: FlaskClient) -> None:
    for _ in range(2):
        add(ports, View("a.png"))
    cursor = client.get("/api/v1/studies?limit=1").json["next_cursor"]
    assert client.get(f"/api/v1/studies?order=most_suspicious&cursor={cursor}").status_code == 400


def test_everything_finished_since_a_cursor(ports: WebPorts, client: FlaskClient) -> None:
    empty = client.get("/api/v1/results")
    assert (empty.json["studies"], empty.json["next_cursor"], empty.headers["Retry-After"]) == ([], "", "5")
    first = add(ports, View("a.png"))
    receive(ports, [View("b.png")])
    page = client.get("/api/v1/results").json
    assert [study["study_id"] for study in page["studies"]] == [first.study_id]
    assert client.get(page["next"]).json["studies"] == []
    second = add(ports, UNREAD, state=WorkState.REJECTED)
    page = client.get(page["next"]).json
    assert [study["study_id"] for study in page["studies"]] == [second.study_id]
    assert not page["more"]
    assert client.get("/api/v1/results?after=odd").json["code"] == "bad_parameter"


# Waiting.


def later(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=lambda: (time.sleep(0.2), act()))
    thread.start()
    return thread


def test_an_answer_waits_for_the_end(ports: WebPorts, client: FlaskClient) -> None:
    study = receive(ports, [View("a.png")])
    for address in (f"/api/v1/studies/{study.study_id}?wait=9", "/api/v1/results?wait=9"):
        other = receive(ports, [View("a.png")]) if "results" in address else study
        thread = later(lambda other=other: finish(ports, other, [View("a.png")]))
        start = time.monotonic()
        answer = client.get(address)
        thread.join()
        assert answer.status_code == 200
        assert time.monotonic() - start < 5
    assert client.get(f"/api/v1/studies/{study.study_id}?wait=9").json["state"] == "done"


def test_an_answer_waits_for_any_change_from_what_is_known(ports: WebPorts, client: FlaskClient) -> None:
    batch_id = receive(ports, [View("a.png")]).batch_id
    address = f"/api/v1/batches/{batch_id}"
    tag = client.get(address).headers["ETag"]
    thread = later(lambda: receive(ports, [View("b.png")], batch_id=batch_id))
    answer = client.get(f"{address}?wait=9", headers={"If-None-Match": tag})
    thread.join()
    assert (answer.status_code, answer.json["counts"]["open"]) == (200, 2)
    again = client.get(f"{address}?wait=1", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.headers["Retry-After"]) == (304, "1")


def test_only_so_many_may_wait(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    client = client_with({"max_waiters": 1})
    address = f"/api/v1/studies/{receive(ports, [View('a.png')]).study_id}"
    thread = threading.Thread(target=lambda: client.application.test_client().get(f"{address}?wait=2"))
    thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    answer = client.get(f"{address}?wait=9")
    assert time.monotonic() - start < 1
    assert answer.headers["Retry-After"]
    thread.join()
    assert client.get(f"{address}?wait=1").status_code == 200


@pytest.mark.parametrize("wait", ["-1", "26", "x", "1.5"])
def test_a_wait_that_is_not_valid(ports: WebPorts, client: FlaskClient, wait: str) -> None:
    study = receive(ports, [View("a.png")])
    assert client.get(f"/api/v1/studies/{study.study_id}?wait={wait}").status_code == 400
    assert client.get(f"/api/v1/results?wait={wait}").status_code == 400


# Exports.


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_a_batch_as_a_table_lines_and_reports(ports: WebPorts, client: FlaskClient) -> None:
    batch_id = ports.new_id()
    broken = add(ports, View("a.png", probability=0.9), label='Fall, "left"; Größe/3', batch_id=batch_id)
    add(ports, UNREAD, state=WorkState.REJECTED, batch_id=batch_id)
    add(ports, View("other.png"))
    address = client.get(f"/api/v1/batches/{batch_id}").json["exports"]
    answer = client.get(address["results_csv"])
    assert answer.mimetype == "text/csv"
    rows = {row["study_id"]: row for row in table(answer.data)}
    assert len(rows) == 2
    assert rows[broken.study_id]["label"] == 'Fall, "left"; Größe/3'
    assert rows[broken.study_id]["assessment"] == "fracture"
    lines = [json.loads(line) for line in client.get(address["results_ndjson"]).text.splitlines()]
    assert {line["study_id"] for line in lines} == set(rows)
    assert all(line["result"]["study_id"] == line["study_id"] for line in lines)
    archive = zipfile.ZipFile(io.BytesIO(client.get(address["reports_zip"]).data))
    assert archive.testzip() is None
    reports, (other,) = [n for n in archive.namelist() if n.endswith("pdf")], archive.namelist()[-1:]
    assert reports == [f"Fall_ _left__ Größe_3 {broken.study_id[:8]}.pdf"]
    assert archive.read(reports[0]) == ports.store.get(keys.report_pdf("local", broken.study_id))
    assert {row["study_id"] for row in table(archive.read(other))} == set(rows)


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", '=HYPERLINK("http://x")'])
def test_no_cell_is_a_formula(ports: WebPorts, client: FlaskClient, label: str) -> None:
    add(ports, View("a.png"), label=label)
    (row,) = table(client.get("/api/v1/studies.csv").data)
    assert row["label"] == f"'{label}"


def test_exports_go_on_over_pages(ports: WebPorts, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fractureai.web.exports._ROWS_A_LOOK", 2)
    studies = [add(ports, View("a.png"), label="x") for _ in range(5)]
    add(ports, View("a.png"), label="y")
    rows = table(client.get(f"/api/v1/studies.csv?{searched(client, 'x')}&order=most_suspicious").data)
    assert {row["study_id"] for row in rows} == {study.study_id for study in studies}


def test_an_export_that_breaks_off_is_not_whole(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    """Trouble before the first row is a problem; trouble later cuts the connection."""
    batch_id = add(ports, View("a.png")).batch_id

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(ports.store, name)

        def get(self, key: str) -> bytes:
            raise TransientFailure("store_unavailable")

    with pytest.raises(TransientFailure):
        _ = client_with(store=Failing()).get(f"/api/v1/batches/{batch_id}/results.ndjson").data


def test_exports_of_what_is_not_there(client: FlaskClient) -> None:
    for name in ("results.csv", "results.ndjson", "reports.zip"):
        assert client.get(f"/api/v1/batches/{NOBODY}/{name}").status_code == 404


# Verdicts, history, retry.


def test_a_readers_word_is_kept(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9))
    address = f"/api/v1/studies/{study.study_id}/verdicts"
    said = {
        "agreement": "disagree",
        "assessment": "no_fracture",
        "region": "wrist",
        "reader": "Dr. A",
        "comment": "a\nb",
    }
    answer = client.post(address, json=said)
    assert answer.status_code == 201
    assert {name: answer.json[name] for name in said} == said
    assert client.post(address, json={"agreement": "agree"}).status_code == 201
    found = client.get(address).json["verdicts"]
    assert [entry["agreement"] for entry in found] == ["disagree", "agree"]
    events = client.get(f"/api/v1/studies/{study.study_id}/history").json["events"]
    assert [event["what"] for event in events][-3:] == ["done", "verdict", "verdict"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agreement": "odd"},
        {"agreement": "agree", "assessment": "odd"},
        {"agreement": "agree", "comment": 3},
        {"agreement": "agree", "comment": "x" * 2001},
        {"agreement": ["agree"]},
        {"agreement": "agree", "assessment": ["fracture"]},
        {"agreement": "agree", "assessment": {"a": 1}},
    ],
)
def test_a_word_that_is_none(ports: WebPorts, client: FlaskClient, body: Any) -> None:
    study = add(ports, View("a.png"))
    answer = client.post(f"/api/v1/studies/{study.study_id}/verdicts", json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_parameter")


def test_a_word_on_nothing(client: FlaskClient) -> None:
    for name in ("verdicts", "history"):
        assert client.get(f"/api/v1/studies/{NOBODY}/{name}").status_code == 404
    assert client.post(f"/api/v1/studies/{NOBODY}/verdicts", json={"agreement": "agree"}).status_code == 404


def test_what_failed_of_a_batch_is_tried_again(ports: WebPorts, client: FlaskClient) -> None:
    batch_id = ports.new_id()
    for state in (WorkState.FAILED, WorkState.FAILED, WorkState.REJECTED):
        add(ports, UNREAD, state=state, batch_id=batch_id)
    answer = client.post(f"/api/v1/batches/{batch_id}/retry")
    assert (answer.status_code, answer.json["reopened"]) == (202, 2)
    assert client.post(f"/api/v1/batches/{batch_id}/retry").json["code"] == "not_failed"
    assert client.post(f"/api/v1/batches/{NOBODY}/retry").status_code == 404
    assert client.get(answer.headers["Location"]).json["counts"] == {"open": 2, "done": 0, "rejected": 1, "failed": 0}


# Requests that are done once.


def post(client: FlaskClient, address: str, key: str, body: bytes = b"pixels", **fields: str) -> Any:
    field = "images" if address.endswith("studies") else "files"
    data = {field: (io.BytesIO(body), "a.png"), **fields}
    return client.post(address, data=data, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("address", ["/api/v1/studies", "/api/v1/batches"])
def test_a_key_is_done_once(ports: WebPorts, client: FlaskClient, address: str) -> None:
    first = post(client, address, "k 1", label="x")
    kept = sorted(ports.store.keys(""))
    again = post(client, address, "k 1", label="x")
    assert (first.status_code, again.status_code, again.json) == (202, 202, first.json)
    assert again.headers["Location"] == first.headers["Location"]
    for other in (post(client, address, "k 1", label="y"), post(client, address, "k 1", b"others", label="x")):
        assert (other.status_code, other.json["code"]) == (422, "key_reused")
    assert sorted(ports.store.keys("")) == kept
    assert post(client, address, "k 2", label="x").json != first.json


def test_two_that_come_with_a_key_at_once(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    class Blind:
        """A ledger that does not know of the other yet when it is asked."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ports.ledger, name)

        def earlier_request(self, *_: object, **__: object) -> None:
            return None

    client = client_with(ledger=Blind())
    first = post(client, "/api/v1/studies", "k")
    kept = sorted(ports.store.keys(""))
    assert post(client, "/api/v1/studies", "k").json == first.json
    assert post(client, "/api/v1/studies", "k", b"other").status_code == 422
    assert sorted(ports.store.keys("")) == kept
    assert ports.ledger.open_count() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
def test_a_key_that_is_none(client: FlaskClient, key: str) -> None:
    assert post(client, "/api/v1/studies", key).json["code"] == "bad_parameter"


# Going on with an upload.


def test_an_upload_tells_what_has_arrived(client: FlaskClient, client_with: Callable[..., FlaskClient]) -> None:
    upload = client.post("/api/v1/uploads").json
    token = {"Upload-Token": upload["token"]}
    sent = client.put(f"{upload['files_url']}3", data=b"x", headers=token | called("a.png")).json
    state = client.get(upload["upload_url"], headers=token).json
    assert (state["state"], state["files"]) == ("open", [sent])
    assert client.get(upload["upload_url"]).status_code == 404
    done = client.post(upload["complete_url"], json={"receipts": [state["files"][0]["receipt"]]})
    state = client.get(upload["upload_url"], headers=token).json
    assert (state["state"], state["files"], state["status_url"]) == ("complete", [], done.json["status_url"])
    assert client_with({"site": "elsewhere"}).get(upload["upload_url"], headers=token).status_code == 404


def test_an_upload_that_has_expired(ports: WebPorts, client: FlaskClient) -> None:
    upload = client.post("/api/v1/uploads").json
    token = {"Upload-Token": upload["token"]}
    receipt = client.put(f"{upload['files_url']}1", data=b"x", headers=token).json["receipt"]
    assert ports.ledger.expire_uploads(touched_before_s=ports.clock() + 1, limit=9)
    for answer in (
        client.get(upload["upload_url"], headers=token),
        client.put(f"{upload['files_url']}2", data=b"x", headers=token),
        client.post(upload["complete_url"], json={"receipts": [receipt]}),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert "within a day" in answer.json["detail"]
    assert not [key for key in ports.store.keys("") if key.endswith(("00002", "batch.json"))]


# Refusals name the file.


def test_a_refusal_names_the_file_it_concerns(
    ports: WebPorts, app: Flask, client_with: Callable[..., FlaskClient]
) -> None:
    narrow = client_with({"max_files": 1, "max_file_bytes": 4})
    two = {"images": [(io.BytesIO(b"x"), "one.png"), (io.BytesIO(b"x"), "two.png")]}
    assert narrow.post("/api/v1/studies", data=two).json["file"] == "two.png"
    large = {"images": (io.BytesIO(b"too large"), "large.png")}
    assert narrow.post("/api/v1/studies", data=large).json["file"] == "large.png"

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(ports.store, name)

        def sink(self, key: str) -> Any:
            raise TransientFailure("store_full")

    full = client_with(store=Full())
    answer = full.post("/api/v1/studies", data={"images": (io.BytesIO(b"x"), "one.png")})
    assert (answer.status_code, answer.json["file"], answer.headers["Retry-After"]) == (507, "one.png", "60")
    upload = full.post("/api/v1/uploads").json
    answer = full.put(
        f"{upload['files_url']}1", data=b"x", headers={"Upload-Token": upload["token"], **called("b.png")}
    )
    assert (answer.status_code, answer.json["file"]) == (507, "b.png")
