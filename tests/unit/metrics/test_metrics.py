"""Counting: once for each thing that happened, over any number of processes, and never by a name or an id."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fractureai.domain.ports import QueueDepths
from fractureai.domain.reasons import Reason
from fractureai.domain.records import OpenWork
from fractureai.domain.study import Assessment, SourceImage, Stage, Study, WorkState
from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.metrics.exporter import Exporter
from fractureai.metrics.instruments import Instruments
from fractureai.metrics.ledger import MeteredLedger
from fractureai.metrics.processes import Pulse
from fractureai.metrics.work import WorkCollector
from fractureai.storage.ledger.sql import SqlLedger
from tests.integration.waiting import until

_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metered(tmp_path: Path, registry: CollectorRegistry) -> Iterator[MeteredLedger]:
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield MeteredLedger(ledger, Instruments(registry))
    ledger.close()


def _study() -> Study:
    return Study("main", _ID, _ID[::-1], "wrist of somebody", 1000.0, (SourceImage(1, "somebody.dcm", 1, "0" * 64),))


def test_a_study_is_counted_when_the_ledger_says_that_it_changed(
    metered: MeteredLedger, registry: CollectorRegistry
) -> None:
    metered.accept_study(_study(), publish_due_at_s=1900.0)
    first = metered.claim(_ID, Stage.CLASSIFY, owner="a", now_s=1000.0, lease_s=60)
    assert metered.retry(first, Reason("store_unavailable"), now_s=1001.0, due_at_s=1001.0)
    assert not metered.retry(first, Reason("store_unavailable"), now_s=1001.0, due_at_s=1001.0)
    claim = metered.claim(_ID, Stage.CLASSIFY, owner="b", now_s=1002.0, lease_s=60)
    ending = {
        "assessment": Assessment.INCONCLUSIVE, "region": None, "max_fracture_probability": None,
        "reasons": (Reason("damaged"),),
    }  # fmt: skip
    for late in (False, True):  # a second worker that finishes the same study loses, and is not counted
        assert metered.finish(claim, WorkState.REJECTED, now_s=1010.0, **ending) is not late

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("fractureai_studies_accepted_total") == 1
    assert value("fractureai_stage_retries_total", stage="classify", code="store_unavailable") == 1
    finished = {"outcome": "rejected", "region": "", "assessment": "inconclusive"}
    assert value("fractureai_studies_finished_total", **finished) == 1
    assert value("fractureai_failures_total", outcome="rejected", code="damaged") == 1
    assert value("fractureai_study_turnaround_seconds_sum", outcome="rejected") == 10.0
    shown = generate_latest(registry).decode()
    assert "somebody" not in shown
    assert _ID not in shown


def test_what_is_open_is_looked_at_when_asked(metered: MeteredLedger) -> None:
    metered.accept_study(_study(), publish_due_at_s=1900.0)
    assert metered.open_work(now_s=1060.0) == [OpenWork(Stage.CLASSIFY, 1, 0, 1000.0)]
    claim = metered.claim(_ID, Stage.CLASSIFY, owner="a", now_s=1060.0, lease_s=60)
    assert metered.open_work(now_s=1061.0) == [OpenWork(Stage.CLASSIFY, 1, 1, None)]
    assert metered.open_work(now_s=1121.0) == [OpenWork(Stage.CLASSIFY, 1, 0, 1060.0)]
    metered.retry(claim, Reason("store_unavailable"), now_s=1062.0, due_at_s=1500.0)
    assert metered.open_work(now_s=1070.0) == [OpenWork(Stage.CLASSIFY, 1, 0, 1062.0)]


class _Queue:
    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    def depths(self) -> QueueDepths:
        self.asked += 1
        if self.away:
            raise TransientFailure("queue_unavailable")
        return QueueDepths({"classify": 3}, 2)


def test_a_part_that_is_away_is_said_to_be_and_breaks_no_scrape(metered: MeteredLedger) -> None:
    queue, now = _Queue(), [1000.0]
    registry = CollectorRegistry()
    registry.register(WorkCollector(lambda: metered, lambda: queue, lambda: now[0]))  # type: ignore[arg-type, return-value]
    assert registry.get_sample_value("fractureai_queue_messages", {"queue": "classify"}) == 3
    assert registry.get_sample_value("fractureai_component_up", {"component": "queue"}) == 1
    assert queue.asked == 1, "a moment later nobody is asked again"
    queue.away, now[0] = True, 1010.0
    assert registry.get_sample_value("fractureai_component_up", {"component": "queue"}) == 0
    assert registry.get_sample_value("fractureai_queue_messages", {"queue": "classify"}) is None
    assert registry.get_sample_value("fractureai_open_leases", {"stage": "classify"}) == 0


class _FrozenQueue(_Queue):
    """Takes the question and does not answer, as a Redis that is stopped does."""

    def __init__(self) -> None:
        super().__init__()
        self.thawed = threading.Event()

    def depths(self) -> QueueDepths:
        found = super().depths()
        self.thawed.wait()
        return found


def test_a_scrape_does_not_wait_for_a_part_that_does_not_answer(metered: MeteredLedger) -> None:
    queue, now = _FrozenQueue(), [1000.0]
    registry = CollectorRegistry()
    registry.register(WorkCollector(lambda: metered, lambda: queue, lambda: now[0], patience_s=0.05))  # type: ignore[arg-type, return-value]
    try:
        for now[0] in (1000.0, 1010.0):
            assert registry.get_sample_value("fractureai_component_up", {"component": "queue"}) == 0
        assert queue.asked == 1, "nobody asks again who still waits for an answer"
    finally:
        queue.thawed.set()

    def is_up() -> bool:
        now[0] += 10.0
        return registry.get_sample_value("fractureai_component_up", {"component": "queue"}) == 1

    until(is_up)
    assert registry.get_sample_value("fractureai_queue_messages", {"queue": "classify"}) == 3


_POOL = """
import os, sys
from pathlib import Path
from prometheus_client import generate_latest
from fractureai.metrics.processes import worker_meters

index = [None]
meters = worker_meters("inference", Path(sys.argv[1]), index=lambda: index[0])
for generation in range(5):
    for child in range(2):
        if not os.fork():
            index[0] = child
            meters.instruments.stage_runs.labels("classify", "done").inc()
            meters.instruments.stage_duration.labels("classify").observe(0.2)
            os._exit(0)
        os.wait()
sys.stdout.write(generate_latest(meters.registry()).decode())
"""


def test_children_count_together_and_those_that_replace_them_go_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _POOL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert 'fractureai_stage_runs_total{result="done",stage="classify"} 10.0' in done.stdout
    assert 'fractureai_stage_duration_seconds_count{stage="classify"} 10.0' in done.stdout
    files = {file.name for file in tmp_path.iterdir()}
    assert files <= {f"{kind}_inference-{who}.db" for kind in ("counter", "histogram") for who in ("main", "0", "1")}


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_an_exporter_tells_counts_health_and_readiness(registry: CollectorRegistry) -> None:
    Instruments(registry).batches_accepted.inc()
    states = {"rounds": "ok", "queue": "ok"}
    exporter = Exporter(
        "127.0.0.1", 0, registry, alive={"rounds": lambda: states["rounds"]}, ready={"queue": lambda: states["queue"]}
    )
    try:
        assert b"fractureai_batches_accepted_total 1.0" in _get(exporter.port, "/metrics")[1]
        assert _get(exporter.port, "/healthz") == (200, b'{"status": "ok", "rounds": "ok"}')
        states["queue"] = "silent"
        assert _get(exporter.port, "/healthz")[0] == 200
        status, body = _get(exporter.port, "/readyz")
        assert (status, json.loads(body)["queue"]) == (503, "silent")
        states["rounds"] = "silent"
        assert _get(exporter.port, "/healthz")[0] == 503
        assert _get(exporter.port, "/")[0] == 404
        with pytest.raises(BrokenDeployment, match=str(exporter.port)):
            Exporter("127.0.0.1", exporter.port, registry)
        probe = [sys.executable, "-m", "fractureai.metrics.probe"]
        environment = {"FRACTUREAI_METRICS__PORT": str(exporter.port)}
        assert subprocess.run(probe, env=environment, capture_output=True, timeout=30).returncode == 1
        states["rounds"] = "ok"
        assert subprocess.run(probe, env=environment, capture_output=True, timeout=30).returncode == 0
    finally:
        exporter.close()
    assert subprocess.run(probe, env=environment, capture_output=True, timeout=30).returncode == 1


def test_a_pulse_goes_silent() -> None:
    now = [0.0]
    pulse = Pulse(30.0, lambda: now[0])
    now[0] = 29.0
    assert pulse() == "ok"
    now[0] = 31.0
    assert pulse() == "silent"
    pulse.beat()
    assert pulse() == "ok"
