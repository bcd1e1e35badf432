"""Whoever reaches Redis can write anything into it: a worker on a real Redis takes none of it amiss."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker

from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.tasks import pipeline
from fractureai.tasks.app import QueueSettings, create_app
from fractureai.tasks.pipeline import register_tasks
from fractureai.tasks.queue import CeleryQueue
from tests.integration.waiting import until
from tests.unit.tasks.test_queue import server

__all__ = ["server"]


def _envelope(body: object, headers: object) -> bytes:
    text = body if isinstance(body, str) else base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps(
        {
            "body": text,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "delivery_info": {"exchange": "", "routing_key": "classify"},
                "delivery_tag": uuid.uuid4().hex,
                "body_encoding": "base64",
            },
        }
    ).encode()


def _task(name: str, args: object) -> bytes:
    return _envelope([args, {}, {}], {"task": name, "id": uuid.uuid4().hex, "lang": "py"})


_JUNK = [
    b"",
    b"not json",
    b"\xff\xfe",
    b"[1, 2]",
    b"null",
    b"{}",
    b'{"body": 1}',
    b"[" * 100_000,
    _envelope("%%%", {"task": "fractureai.classify", "id": "x"}),
    _envelope([[], {}, {}], []),
    _envelope([[], {}, {}], {"task": ["a"], "id": "x"}),
    _task("os.system", ["true"]),
    _task("fractureai.classify", []),
    _task("fractureai.classify", [7]),
    _task("fractureai.classify", [{"a": 1}]),
    _task("fractureai.classify", ["../../etc/passwd"]),
    _task("fractureai.classify", ["a" * 32, "b", "c"]),
]


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def app(server: redis.Redis, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    server.flushall()
    monkeypatch.setitem(pipeline._STAGES, Stage.CLASSIFY, lambda study_id, _ports: ran.append(study_id) or "done")
    monkeypatch.setitem(pipeline._STAGES, Stage.DETECT, _away)
    monkeypatch.setattr(pipeline, "_PAUSE_S", 0.0)
    path = server.connection_pool.connection_kwargs["path"]
    app = create_app(QueueSettings(f"redis+socket://{path}"))
    register_tasks(app, lambda: None)  # type: ignore[arg-type, return-value]
    yield app
    app.close()


def _away(*_: object) -> Any:
    raise TransientFailure("ledger_unavailable")


def test_the_transport_is_ours(app: Celery) -> None:
    with app.connection_for_read() as connection:
        assert type(connection.transport).__module__ == "fractureai.tasks.transport"


def test_a_worker_survives_junk_and_does_the_work_behind_it(app: Celery, server: redis.Redis, ran: list[str]) -> None:
    study_id = uuid.uuid4().hex
    for item in _JUNK:
        server.lpush("fractureai:classify", item)
    CeleryQueue(app).publish_study(study_id, Stage.CLASSIFY)
    with start_worker(app, pool="solo", queues=["classify", "detect"], perform_ping_check=False, shutdown_timeout=30):
        until(lambda: study_id in ran, timeout_s=60)
        until(lambda: server.llen("fractureai:classify") == 0)
    assert set(ran) <= {study_id, "a" * 32}
    assert threading.main_thread().is_alive()


def test_a_key_that_is_no_list_is_removed_and_the_next_look_sees_all(app: Celery, server: redis.Redis) -> None:
    server.set("fractureai:detect:5", "x")
    queue = CeleryQueue(app)
    with pytest.raises(TransientFailure, match="queue_unavailable"):
        queue.line()
    queue.publish_study(uuid.uuid4().hex, Stage.DETECT)
    assert queue.line().waiting == 1
