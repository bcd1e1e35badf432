"""A study through the services of ``docker-compose.yml``, started as it starts them: real queue, PostgreSQL and S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import postgresql
from tests.bad_files import phantom_dicom
from tests.deployment.composed import APPLICATION, Composition, missing
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("deployment"), pytest.mark.timeout(300)]

_REQUEST = "ward-7.0815"
_PATIENT = "KOWALSKI^JAN"
_LABELS = {
    "outcome", "region", "assessment", "code", "stage", "result", "method", "route", "status", "le", "queue",
    "component", "implementation", "version", "major", "minor", "patchlevel", "generation",
}  # fmt: skip


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Composition]:
    reason = missing() or postgresql.missing()
    if reason:
        pytest.skip(reason)
    with postgresql.running() as ledger_url:
        composition = Composition(tmp_path, ledger_url)
        try:
            yield composition
        finally:
            composition.kill()


def test_a_study_goes_through_what_compose_starts(running: Composition) -> None:
    for name in ("queue", "s3"):
        running.start(name)
        until(lambda name=name: running.serves(name), timeout_s=100)
    migrated = running.run("migrate")
    assert (migrated.returncode, migrated.stderr) == (0, ""), migrated.stderr
    assert migrated.stdout == "The bucket was made. Ledger and store are ready.\n"
    # Before the web, which does not start as long as nobody could be let in.
    key = running.run("scheduler", "keys", "create", "ward", "--scope", "submit", "--scope", "read").stdout.strip()
    for name in APPLICATION:
        running.start(name)
    for name in APPLICATION:
        until(lambda name=name: running.serves(name), timeout_s=100)
        until(lambda name=name: running.healthy(name), timeout_s=100, every_s=1)

    headers = {"Authorization": f"Bearer {key}", "X-Request-Id": _REQUEST}
    url = f"http://127.0.0.1:{running.ports['web']}"
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
        assert http.get("/api/v1/studies", headers={"Authorization": ""}).status_code == 401
        files = {"images": (f"{_PATIENT}.dcm", phantom_dicom())}
        sent = http.post("/api/v1/studies", files=files, data={"label": _PATIENT})
        assert (sent.status_code, sent.headers["X-Request-Id"]) == (202, _REQUEST), sent.text
        study = f"/api/v1/studies/{sent.json()['study_id']}"
        answers = until(
            lambda: [it for it in [http.get(f"{study}?wait=20").json()] if it["state"] != "open"], timeout_s=100
        )
        found = answers[0]
        assert found["state"] == "done"
        assert http.get(f"{study}/report.pdf").content.startswith(b"%PDF")
        events = http.get(f"{study}/history").json()["events"]
        assert [event["detail"] for event in events if event["what"] == "requested"] == [_REQUEST]
        # The address of metrics is for this machine; through a proxy it does not exist.
        assert http.get("/metrics").status_code == 200
        assert http.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404

    seen = {name: _scrape(running.metrics[name]) for name in APPLICATION}
    finished = {"outcome": "done", "region": found["region"] or "", "assessment": found["assessment"]}
    assert _value(seen["reports"], "fractureai_studies_finished_total", **finished) == 1
    assert _value(seen["inference"], "fractureai_stage_runs_total", stage="classify", result="done") == 1
    assert _value(seen["web"], "fractureai_studies_accepted_total") == 1
    assert _value(seen["scheduler"], "fractureai_queue_messages", queue="classify") == 0
    assert _value(seen["scheduler"], "fractureai_component_up", component="ledger") == 1
    assert {label for samples in seen.values() for _, labels, _ in samples for label in labels} <= _LABELS

    for name in APPLICATION:
        assert httpx.get(f"http://127.0.0.1:{running.metrics[name]}/readyz", trust_env=False).status_code == 200
    assert running.stop(APPLICATION, grace_s=60) == dict.fromkeys(APPLICATION, 0)
    # Each in a container of its own, one seals and another one knows the seal.
    assert running.run("scheduler", "audit", "seal").returncode == 0
    verified = running.run("reports", "audit", "verify")
    assert (verified.returncode, verified.stdout) == (0, ""), verified.stderr
    lines = [line for name in APPLICATION for line in _logged(running.log(name))]
    assert {line["stage"] for line in lines if line.get("request_id") == _REQUEST and "attempt" in line} == {
        "classify", "detect", "explain", "report",
    }  # fmt: skip
    assert _PATIENT not in "".join(running.log(name).read_text() for name in APPLICATION)


Sample = tuple[str, dict[str, str], float]


def _scrape(port: int) -> list[Sample]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).raise_for_status().text
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def _value(samples: list[Sample], name: str, **labels: str) -> float:
    (value,) = [value for each, given, value in samples if each == name and given == labels]
    return value


def _logged(log: Path) -> list[dict[str, object]]:
    """Every line that is ours; Celery greets in its own words before it has loggers."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
