"""What every answer carries, what is refused by its name, and whom a service that asks nobody answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fractureai.bootstrap import Deployment
from fractureai.errors import BrokenDeployment
from fractureai.settings import Settings
from tests.browser.samples import View, add, open_app, open_ports
from tests.security.conftest import Hospital

_WEB = Path(__file__).parents[2] / "fractureai" / "web"


def test_every_page_keeps_to_a_policy_without_inline_code(hospital: Hospital) -> None:
    client = hospital.signed_in()
    study = add(hospital.ports, View("a.png", probability=0.9))
    paths = ["/", "/features", "/faq", "/models", "/predict", "/worklist", "/sign-in", "/no-such-page"]
    for path in [*paths, f"/studies/{study.study_id}", f"/batches/{study.batch_id}"]:
        answer = client.get(path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert not re.search(r"unsafe|data:|\*|https?:", answer.headers["Content-Security-Policy"])
        assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in answer.headers or "Python" not in answer.headers["Server"]


def test_no_script_writes_markup_or_code() -> None:
    for script in (_WEB / "static").glob("*.js"):
        assert not re.search(r"\beval\(|new Function|document\.write|setAttribute\(\"style\"", script.read_text()), (
            script
        )


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PATCH", "PROPFIND", "DELETE"])
def test_other_methods_are_refused(hospital: Hospital, method: str) -> None:
    assert hospital.client.open("/api/v1/studies", method=method).status_code in {405, 401, 404}


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/../etc/passwd"]
)
def test_nothing_outside_is_served(hospital: Hospital, path: str) -> None:
    assert hospital.client.get(path).status_code in {404, 400, 308}


def test_an_unknown_host_is_refused(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(trusted_hosts=("reads.hospital.example",))
    assert hospital.client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert hospital.client.get("/", headers={"Host": "reads.hospital.example"}).status_code == 200


def test_forwarded_addresses_count_only_behind_a_known_proxy(open_hospital: Callable[..., Hospital]) -> None:
    for proxies, seen in ((0, "127.0.0.1"), (1, "192.0.2.7")):
        hospital = open_hospital(proxies=proxies)
        hospital.client.get(
            "/worklist", headers={"Authorization": "Bearer x", "X-Forwarded-For": "10.9.9.9, 192.0.2.7"}
        )
        assert hospital.records()[0]["who"]["address"] == seen


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("", {}, 200),
        ("10.0.0.9", {}, 403),
        ("2001:db8::1", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.9"}, 403),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.9"}, 403),
    ],
)
def test_a_service_that_asks_nobody_answers_its_own_machine(
    tmp_path: Path, address: str, headers: dict[str, str], status: int
) -> None:
    ports = open_ports(tmp_path)
    client = open_app(ports).test_client()
    answer = client.get("/worklist", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == status
    ports.ledger.close()


@pytest.mark.parametrize(
    ("host", "mode", "opens"),
    [
        ("127.0.0.1", "auto", True),
        ("::1", "auto", True),
        ("0.0.0.0", "auto", False),
        ("10.1.2.3", "auto", False),
        ("127.0.0.1", "closed", False),
    ],
)
def test_a_service_nobody_could_sign_in_to_is_not_opened_to_others(
    tmp_path: Path, host: str, mode: str, opens: bool
) -> None:
    settings = Settings(data_dir=tmp_path, web={"host": host}, access={"mode": mode})  # type: ignore[arg-type]
    deployment = Deployment(settings)
    if opens:
        deployment.check_access()
        assert deployment.gate is None
    else:
        with pytest.raises(BrokenDeployment, match="fractureai keys create"):
            deployment.check_access()
        deployment.ledger.close()
