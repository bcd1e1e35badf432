"""What a scanner would try on the web: headers, methods, hosts, traversal, injection, sizes."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fractureai.bootstrap import Deployment
from fractureai.embedded.service import gunicorn_command
from fractureai.settings import load_settings
from tests.browser.samples import open_app, open_ports

NOBODY = "0" * 32


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return open_app(open_ports(tmp_path_factory.mktemp("web")), trusted_hosts=("localhost",), max_request_bytes=1 << 20)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


_ADDRESSES = ("/", "/predict", "/studies", "/nothing-here", "/api/v1/studies", f"/api/v1/studies/{NOBODY}", "/healthz")


@pytest.mark.parametrize("address", _ADDRESSES)
def test_every_answer_is_hardened(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code < 500
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].startswith(("text/html", "application/json", "application/problem+json"))
    for cookie in answer.headers.getlist("Set-Cookie"):
        assert "HttpOnly" in cookie
        assert "SameSite" in cookie
    assert "<script>" not in answer.text
    assert " style=" not in answer.text


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 50_000, "[" * 100 + "1e999999"])
def test_a_body_of_brackets_without_end_is_no_json(client: FlaskClient, body: str) -> None:
    address = f"/api/v1/studies/{NOBODY}/verdicts"
    answer = client.post(address, data=body, content_type="application/json", base_url="http://localhost")
    assert answer.status_code == 400
    assert "must be a JSON object" in answer.json["detail"]


@pytest.mark.parametrize("address", _ADDRESSES)
def test_a_query_in_no_utf8_is_refused(client: FlaskClient, address: str) -> None:
    """Bytes that are not percent-encoded reach the application as they are."""
    answer = client.get(address, environ_overrides={"QUERY_STRING": "order=\xb9"})
    assert answer.status_code == 400
    assert "UTF-8" in answer.text


@pytest.mark.parametrize("address", ["//studies", "/api/v1//studies", "/worklist"])
@pytest.mark.parametrize("raw", ["\r", "\n", "\0", "a\rb", "\x7f"])
def test_a_query_with_raw_line_breaks_is_refused(client: FlaskClient, address: str, raw: str) -> None:
    """Also where it would only be led on, with the query, to the right address."""
    answer = client.get("/", environ_overrides={"PATH_INFO": address, "QUERY_STRING": f"order={raw}"})
    assert answer.status_code == 400


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
@pytest.mark.parametrize("address", ["/predict/study", "/api/v1/uploads", "/sign-in"])
def test_a_foreign_host_is_refused_whatever_else_is_wrong(
    client: FlaskClient, headers: dict[str, str], address: str
) -> None:
    odd = {"HTTP_HOST": "evil.example", "QUERY_STRING": "\xb9"}
    answer = client.post(address, headers=headers, environ_overrides=odd)
    assert (answer.status_code, answer.text) == (400, "This service does not answer to that name.\n")


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "DEBUG", "PROPFIND", "MOVE", "\u00c4"])
@pytest.mark.parametrize("address", ["/", "/api/v1/studies"])
def test_odd_methods_are_refused_and_echo_nothing(client: FlaskClient, method: str, address: str) -> None:
    answer = client.open(address, method=method, headers={"X-Marker": "echo-me"})
    assert answer.status_code in {400, 405}
    assert "echo-me" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/settings.py",
        "/static//etc/passwd",
        "/static/..\\..\\settings.py",
        "/studies/../../etc/passwd",
        f"/studies/{NOBODY}%00",
        f"/studies/{NOBODY}%0d%0aSet-Cookie:x=1",
        f"/api/v1/studies/{NOBODY.upper()}/../{NOBODY}",
        "/api/v1/studies/' OR '1'='1",
        f"/api/v1/studies/{NOBODY}/images/1/../../report.pdf",
        f"/api/v1/studies/{NOBODY}/images/-1/image.png",
        f"/api/v1/studies/{NOBODY}/images/99999999999999999999/image.png",
        "//evil.example/%2e%2e",
        "/" + "a" * 9000,
    ],
)
def test_addresses_lead_nowhere(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in {301, 308, 400, 404}
    assert "root:" not in answer.text
    assert "import annotations" not in answer.text
    assert "x=1" not in "".join(answer.headers.getlist("Set-Cookie"))
    assert "evil.example" not in answer.headers.get("Location", "")


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost:80@evil.example", "127.0.0.1.evil"]
)
def test_a_foreign_host_is_refused(client: FlaskClient, host: str) -> None:
    answer = client.get("/studies", headers={"Host": host})
    assert answer.status_code == 400
    assert host not in answer.text


@pytest.mark.parametrize("host", ["a" * 64, "a" * 64 + ".example", "..", "\xe9" * 60, ""])
@pytest.mark.parametrize("address", ["/", "/nothing-here", "/api/v1/studies"])
def test_a_host_that_cannot_be_is_refused_where_any_may(tmp_path: Path, host: str, address: str) -> None:
    anywhere = open_app(open_ports(tmp_path / "web")).test_client()
    answer = anywhere.get(address, headers={"Host": host})
    assert answer.status_code in {200, 400, 404}
    assert host == "" or host not in answer.text


def test_forwarding_headers_are_not_believed(client: FlaskClient) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Original-URL": "/api/v1/results"}
    answer = client.get("/predict", headers=headers)
    assert answer.status_code < 400
    assert "evil.example" not in answer.text + str(answer.headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_site_sends_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/api/v1/uploads", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "cross_site")


def test_no_other_origin_may_read(client: FlaskClient) -> None:
    answer = client.get("/api/v1/studies", headers={"Origin": "https://evil.example"})
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("query", ["q=<script>alert(1)</script>", "q=%22onload=a(1)", "q={{7*7}}", "b=<svg/onload=a>"])
def test_queries_are_not_reflected_raw(client: FlaskClient, query: str) -> None:
    answers = [client.get(f"/worklist?{query}"), client.post("/worklist", data=dict(parse_qsl(query)))]
    answers.append(client.get(answers[-1].location))
    assert all(answer.status_code < 500 for answer in answers)
    for raw in ("<script>alert", '"onload=', "<svg/onload", ">49<"):
        assert not any(raw in answer.text for answer in answers)


def test_a_body_beyond_the_limit_is_refused(client: FlaskClient) -> None:
    answer = client.post("/api/v1/batches", data=b"x" * (2 << 20), content_type="multipart/form-data; boundary=edge")
    assert answer.status_code == 413
    answer = client.post("/api/v1/uploads", data=b"x", headers={"Content-Length": "999999999999"})
    assert answer.status_code < 500


@pytest.mark.parametrize("kind", ["text/html", "application/xml", "image/svg+xml", "text/plain", ""])
def test_the_content_type_is_held_to(client: FlaskClient, kind: str) -> None:
    answer = client.post(
        "/api/v1/batches", data=b"<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'>", content_type=kind
    )
    assert answer.status_code in {400, 415}


def test_slow_and_large_requests_are_bounded_by_the_server(tmp_path: Path) -> None:
    command = gunicorn_command(load_settings(data_dir=tmp_path), tmp_path)
    options = dict(itertools.pairwise(command))
    assert int(options["--timeout"]) <= 300
    assert int(options["--keep-alive"]) <= 60
    # Request line and headers: gunicorn's own bounds, which nobody has lifted.
    assert not {"--limit-request-line", "--limit-request-fields", "--limit-request-field_size"} & set(command)


def test_errors_tell_nothing_of_the_inside(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = app.extensions["fractureai"].ports

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret-of-the-inside")

    broken = dataclasses.replace(ports, new_id=fail)
    answer = open_app(broken, trusted_hosts=("localhost",)).test_client().post("/api/v1/uploads")
    assert answer.status_code == 500
    assert "secret-of-the-inside" not in answer.text
    assert "Traceback" not in answer.text


def test_the_settings_never_print_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTUREAI_STORE__SECRET_KEY", "hush-hush")
    monkeypatch.setenv("FRACTUREAI_LEDGER__URL", "sqlite:////hush-hush")
    assert "hush-hush" not in repr(Deployment(load_settings(data_dir=tmp_path)).settings)
