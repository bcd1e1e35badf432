"""The queue over a real Redis: what a worker that died leaves behind must not look like work in progress."""

from __future__ import annotations

import math
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from fractureai.domain.ports import QueueLine
from fractureai.domain.records import Priority
from fractureai.domain.study import Stage
from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from fractureai.tasks.app import QueueSettings, create_app
from fractureai.tasks.pipeline import register_tasks
from fractureai.tasks.queue import CeleryQueue
from tests.integration.waiting import until

_ID = uuid.uuid4().hex


def _no_ports() -> None:
    raise AssertionError("publishing must not build a worker's parts")


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    """A Redis of our own, and a client of it."""
    with tempfile.TemporaryDirectory(prefix="fai-") as folder:
        path = Path(folder) / "redis.sock"
        command = queue_server_command(find_queue_server(), path, Path(folder))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                until(path.exists)
                with redis.Redis(unix_socket_path=str(path)) as client:
                    until(lambda: _answers(client))
                    yield client
            finally:
                process.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def app(server: redis.Redis) -> Iterator[Celery]:
    server.flushall()
    path = server.connection_pool.connection_kwargs["path"]
    app = create_app(QueueSettings(f"redis+socket://{path}"))
    register_tasks(app, _no_ports)
    yield app
    app.close()


def test_a_message_with_a_dead_worker_does_not_hold_up_the_others(app: Celery) -> None:
    """A worker takes the message and dies before it has the lease: nothing waits, although nothing is acknowledged."""
    queue = CeleryQueue(app)
    assert queue.line() == QueueLine()
    queue.publish_study(_ID, Stage.CLASSIFY)
    assert queue.line().waiting == 1
    with app.connection_for_read() as connection:
        taken = connection.default_channel.basic_get("classify", no_ack=False)
        assert taken is not None
        assert connection.default_channel.client.hlen("unacked") == 1
        assert queue.line() == QueueLine()
        taken.ack()


def test_the_line_says_when_the_next_message_was_sent(app: Celery) -> None:
    queue = CeleryQueue(app)
    before_s = time.time()
    queue.publish_study(_ID, Stage.DETECT, Priority.BULK)
    between_s = time.time()
    queue.publish_study(_ID, Stage.DETECT, Priority.BULK)
    queue.publish_study(_ID, Stage.DETECT)
    queue.publish_batch(_ID)
    line = queue.line()
    assert (line.waiting, line.batches) == (3, 1)
    assert set(line.sent_s) == {(Stage.DETECT, Priority.BULK), (Stage.DETECT, Priority.WALK_IN)}
    assert before_s <= line.sent_s[Stage.DETECT, Priority.BULK] <= between_s
    assert between_s <= line.sent_s[Stage.DETECT, Priority.WALK_IN]


def test_a_walk_in_is_taken_before_all_bulk(app: Celery) -> None:
    queue = CeleryQueue(app)
    for number in range(3):
        queue.publish_study(f"{number:032x}", Stage.CLASSIFY, Priority.BULK)
    queue.publish_study(_ID, Stage.CLASSIFY, Priority.WALK_IN)
    with app.connection_for_read() as connection:
        messages = [connection.default_channel.basic_get("classify", no_ack=True) for _ in range(4)]
    taken = [message.payload[0][0] for message in messages]
    assert taken == [_ID, *(f"{number:032x}" for number in range(3))]
    # The whole chain keeps its place: every later link carries the priority too.
    assert {link["options"]["priority"] for link in messages[1].payload[2]["chain"]} == {5}


@pytest.mark.parametrize("junk", [b"not json", b"[]", b"{}", b'{"headers": {"fractureai_sent_s": "soon"}}'])
def test_junk_at_the_head_of_a_line_is_of_unknown_age(app: Celery, server: redis.Redis, junk: bytes) -> None:
    server.rpush("fractureai:classify", junk)
    assert CeleryQueue(app).line() == QueueLine(waiting=1, sent_s={(Stage.CLASSIFY, Priority.WALK_IN): -math.inf})
