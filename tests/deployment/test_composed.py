"""A study through the services of ``docker-compose.yml``, started as it starts them: real queue, PostgreSQL and S3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.bad_files import phantom_dicom
from tests.deployment.composed import APPLICATION, Composition
from tests.deployment.kubernetes import BASE, OVERLAY, all_links, containers, settings_of
from tests.integration.waiting import until

pytestmark = [pytest.mark.xdist_group("deployment"), pytest.mark.timeout(300)]

_REQUEST = "ward-7.0815"
_PATIENT = "KOWALSKI^JAN"
_LABELS = {
    "outcome", "region", "assessment", "code", "stage", "result", "method", "route", "status", "le", "queue",
    "component", "implementation", "version", "major", "minor", "patchlevel", "generation",
}  # fmt: skip


def test_a_study_goes_through_what_compose_starts(running: Composition, key: str) -> None:
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


@pytest.mark.usefixtures("key")
def test_every_pod_starts_with_its_settings_and_with_service_links(
    running: Composition, few_models: dict[str, str]
) -> None:
    """Links are off in the manifests; where they are on all the same, or for a Service of another's, nothing fails."""
    settings = {**settings_of(BASE), **settings_of(OVERLAY), **all_links(), **few_models}
    # The small S3 server of these tests cannot encrypt, and what it does not confirm is refused.
    del settings["FRACTUREAI_STORE__ENCRYPTION"]
    pods = {name: container for name, container in containers().items() if name in APPLICATION}
    assert set(pods) == set(APPLICATION)
    for name, container in pods.items():
        running.start_pod(name, container, settings)
    try:
        for name, container in pods.items():
            until(lambda name=name, probe=container["readinessProbe"]: _passes(running, name, probe), timeout_s=100)
    finally:
        ended = running.stop(tuple(pods), grace_s=60)
    assert ended == dict.fromkeys(pods, 0)


def _passes(running: Composition, name: str, probe: dict[str, Any]) -> bool:
    """A probe of the manifests, as the kubelet makes it."""
    assert running.processes[name].poll() is None, running.log(name).read_text()[-3000:]
    asked = probe["httpGet"]
    port = running.ports["web"] if asked["port"] == "http" else running.metrics[name]
    headers = {each["name"]: each["value"] for each in asked.get("httpHeaders", [])}
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{asked['path']}", headers=headers, trust_env=False, timeout=10)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


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
