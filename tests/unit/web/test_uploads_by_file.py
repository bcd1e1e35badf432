"""A batch that is sent file by file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from fractureai.domain import keys
from fractureai.domain.study import Grouping, Upload
from fractureai.domain.study_json import batch_from_json
from fractureai.web.app import WebPorts


def put(client: FlaskClient, upload: Any, number: int, body: bytes, name: str = "a.png", token: str = "") -> Any:
    headers = {"Upload-Token": token or upload["token"], **called(name)}
    return client.put(f"{upload['files_url']}{number}", data=body, headers=headers)


def called(name: str) -> dict[str, str]:
    """The header that says what a sender calls its file (RFC 8187)."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}


def test_an_upload_from_begin_to_end(ports: WebPorts, client: FlaskClient) -> None:
    upload = client.post("/api/v1/uploads").json
    receipts = []
    for number, body in ((2, b"two"), (1, b"one"), (4, b"four")):
        answer = put(client, upload, number, body, f"folder/{number}.png")
        assert answer.status_code == 200
        assert answer.json["sha256"] == hashlib.sha256(body).hexdigest()
        receipts.append(answer.json["receipt"])
    assert ports.ledger.batch(upload["batch_id"], site="local") is None
    done = client.post(upload["complete_url"], json={"receipts": receipts, "label": "Folder"})
    assert done.status_code == 202
    claim = ports.ledger.claim_batch(upload["batch_id"], owner="test", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    assert claim.batch.label == "Folder"
    assert claim.batch.uploads[0] == Upload(1, "folder/1.png", 3, hashlib.sha256(b"one").hexdigest())
    assert [entry.number for entry in claim.batch.uploads] == [1, 2, 4]
    assert ports.store.get(keys.batch_upload("local", upload["batch_id"], 4)) == b"four"
    again = client.post(upload["complete_url"], json={"receipts": receipts, "label": "Folder"})
    assert (again.status_code, again.json) == (202, done.json)
    fewer = client.post(upload["complete_url"], json={"receipts": receipts[:1]})
    assert (fewer.status_code, fewer.json["code"]) == (409, "already_complete")
    late = put(client, upload, 5, b"five")
    assert (late.status_code, late.json["code"]) == (409, "already_complete")


def test_what_makes_a_study_is_said_at_the_end(ports: WebPorts, client: FlaskClient) -> None:
    for said, kept in (
        ({}, Grouping.FILE),
        ({"grouping": "folder"}, Grouping.FOLDER),
        ({"grouping": "study"}, Grouping.STUDY),
        ({"grouping": "pattern", "pattern": "{study}-*"}, Grouping.PATTERN),
    ):
        upload: Any = client.post("/api/v1/uploads").json
        receipt = put(client, upload, 1, b"one", "case 1/a.png").json["receipt"]
        client.post(upload["complete_url"], json={"receipts": [receipt], **said})
        claim = ports.ledger.claim_batch(upload["batch_id"], owner="test", now_s=ports.clock(), lease_s=60)
        assert claim is not None
        assert claim.batch.grouping is kept
        document = json.loads(ports.store.get(keys.batch_json("local", upload["batch_id"])))
        assert batch_from_json(document) == replace(claim.batch, pattern=said.get("pattern", ""))


def test_a_file_may_be_sent_again(ports: WebPorts, client: FlaskClient) -> None:
    upload = client.post("/api/v1/uploads").json
    first, second = (put(client, upload, 1, body).json["receipt"] for body in (b"old", b"newer"))
    client.post(upload["complete_url"], json={"receipts": [first, second]})
    claim = ports.ledger.claim_batch(upload["batch_id"], owner="test", now_s=ports.clock(), lease_s=60)
    assert claim is not None
    assert [entry.size_bytes for entry in claim.batch.uploads] == [5]


def test_receipts_and_tokens_cannot_be_moved_or_made_up(
    client: FlaskClient, client_with: Callable[..., FlaskClient]
) -> None:
    mine, other = client.post("/api/v1/uploads").json, client.post("/api/v1/uploads").json
    receipt = put(client, mine, 1, b"x").json["receipt"]
    for forged in (receipt, receipt[:-2] + "AA", "made up", mine["token"]):
        answer = client.post(other["complete_url"], json={"receipts": [forged]})
        assert (answer.status_code, answer.json["code"]) == (400, "bad_receipt")
    for token in (other["token"], "made up", receipt):
        assert put(client, mine, 1, b"x", token=token).status_code == 404
    assert put(client_with({"site": "elsewhere"}), mine, 1, b"x").status_code == 404


def test_completing_asks_for_the_right_things(client: FlaskClient, client_with: Callable[..., FlaskClient]) -> None:
    upload = client.post("/api/v1/uploads").json
    for body, status, code in (
        ({}, 400, "bad_parameter"),
        ({"receipts": "x"}, 400, "bad_parameter"),
        ({"receipts": [1]}, 400, "bad_parameter"),
        ({"receipts": [], "label": 3}, 400, "bad_parameter"),
        ({"receipts": [], "grouping": "case"}, 400, "bad_parameter"),
        ({"receipts": [], "grouping": ["folder"]}, 400, "bad_parameter"),
        ({"receipts": [], "grouping": "pattern"}, 400, "bad_parameter"),
        ({"receipts": [], "grouping": "pattern", "pattern": "(.*)+$"}, 400, "bad_parameter"),
        ({"receipts": [], "grouping": "pattern", "pattern": 3}, 400, "bad_parameter"),
        ({"receipts": []}, 422, "no_images"),
        ([], 400, "bad_request"),
    ):
        answer = client.post(upload["complete_url"], json=body)
        assert (answer.status_code, answer.json["code"]) == (status, code)
    assert client.post(upload["complete_url"], data=b"{}").status_code == 415
    narrow = client_with({"max_upload_files": 1, "max_file_bytes": 2})
    for number, body in ((0, b"x"), (2, b"x"), (1, b"xxx")):
        assert put(narrow, upload, number, body).status_code == 413
    assert narrow.post(upload["complete_url"], json={"receipts": ["a", "b"]}).status_code == 413


def test_a_file_that_fails_leaves_the_one_before(ports: WebPorts, client_with: Callable[..., FlaskClient]) -> None:
    client = client_with({"max_file_bytes": 3})
    upload = client.post("/api/v1/uploads").json
    assert put(client, upload, 1, b"old").status_code == 200
    assert put(client, upload, 1, b"too long").status_code == 413
    assert ports.store.get(keys.batch_upload("local", upload["batch_id"], 1)) == b"old"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("attachment; filename*=UTF-8''m%C3%BCller%2F%E8%85%95%27%28%2A%29.png", "müller/腕'(*).png"),
        ("attachment; filename*=UTF-8''100%25%3B%20%22a%22%3D.png", '100%; "a"=.png'),
        ('attachment; filename="a b.png"', "a b.png"),
        ('attachment; filename="' + "Müller.png".encode().decode("latin-1") + '"', "Müller.png"),
        ('attachment; filename="Müller.png"', "Müller.png"),
        ("attachment; filename*=iso-8859-1''M%FCller.png", "Müller.png"),
        ("attachment; filename*=UTF-8''a%0D%0AERROR%202026.png", "aERROR 2026.png"),
        ("attachment; filename*=UTF-9''%FF", "%FF"),
        ("attachment", "file 1"),
        ("", "file 1"),
    ],
)
def test_a_file_is_called_what_its_header_says(client: FlaskClient, said: str, kept: str) -> None:
    upload = client.post("/api/v1/uploads").json
    headers = {"Upload-Token": upload["token"], "Content-Disposition": said}
    assert client.put(f"{upload['files_url']}1", data=b"x", headers=headers).json["file"] == kept


def test_a_name_in_the_address_is_refused_and_not_repeated(client: FlaskClient) -> None:
    upload = client.post("/api/v1/uploads").json
    headers = {"Upload-Token": upload["token"]}
    answer: Any = client.put(f"{upload['files_url']}1?name=Musterfrau.dcm", data=b"x", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_parameter")
    assert "Content-Disposition" in answer.json["detail"]
    assert "Musterfrau" not in answer.text
    assert client.get(upload["upload_url"], headers=headers).json["files"] == []
