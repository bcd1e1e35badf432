"""Request ids, and who may read the metrics."""

from __future__ import annotations

import io
import logging
import re

import pytest
from flask.testing import FlaskClient

from fractureai.logs import ids_of
from tests.bad_files import phantom_dicom


def test_a_request_keeps_its_well_formed_id_and_gets_one_otherwise(client: FlaskClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "ward-7.0815"}).headers["X-Request-Id"] == "ward-7.0815"
    for wrong in ("short", "x" * 65, "two words here", "größe-0815", "line%0abreak", ""):
        made = client.get("/healthz", headers={"X-Request-Id": wrong}).headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{32}", made)
    first, second = (client.get("/no/such/page").headers["X-Request-Id"] for _ in range(2))
    assert first != second


def test_the_id_is_in_the_log_and_in_the_studys_history(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    said: list[dict[str, object]] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(ids_of(record))

    handler = Listening()
    logging.getLogger("fractureai").addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger="fractureai"):
            answer = client.post(
                "/api/v1/studies",
                data={"images": (io.BytesIO(phantom_dicom()), "hand.dcm")},
                headers={"X-Request-Id": "ward-7.0815"},
            )
    finally:
        logging.getLogger("fractureai").removeHandler(handler)
    study_id = answer.get_json()["study_id"]
    assert {"request_id": "ward-7.0815", "study_id": study_id}.items() <= said[-1].items()
    events = client.get(f"/api/v1/studies/{study_id}/history").get_json()["events"]
    assert [event["detail"] for event in events if event["what"] == "requested"] == ["ward-7.0815"]


def _of(client: FlaskClient, address: str, **headers: str) -> int:
    return client.get("/metrics", headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code


def test_metrics_are_for_those_the_settings_name(client: FlaskClient) -> None:
    assert _of(client, "127.0.0.1") == 200
    assert _of(client, "::ffff:127.0.0.1") == 200
    for address in ("10.1.2.3", "192.0.2.1", "2001:db8::1", ""):
        assert _of(client, address) == 404
    # A proxy on this machine speaks for everybody.
    assert _of(client, "127.0.0.1", **{"X-Forwarded-For": "127.0.0.1"}) == 404
    assert _of(client, "127.0.0.1", Forwarded="for=127.0.0.1") == 404


def test_requests_are_counted_by_the_pattern_of_their_address(client: FlaskClient) -> None:
    client.get("/api/v1/studies/" + "a" * 32)
    client.get("/no/such/page")
    shown = client.get("/metrics", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}).get_data(as_text=True)
    line = r'^fractureai_http_requests_total\{method="GET",route="%s",status="404"\} 1.0$'
    assert re.search(line % "/api/v1/studies/<id:study_id>", shown, re.MULTILINE)
    assert re.search(line % "none", shown, re.MULTILINE)
    assert "a" * 32 not in shown
