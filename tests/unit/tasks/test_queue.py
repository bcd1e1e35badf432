"""The queue over a real Redis: what a worker that died leaves behind must not look like work in progress."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from fractureai.domain.study import Stage
from fractureai.embedded.redis import find_redis_server, redis_command
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
        command = redis_command(find_redis_server(), path, Path(folder))
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
    assert queue.is_idle()
    queue.publish_study(_ID, Stage.CLASSIFY)
    assert not queue.is_idle()
    with app.connection_for_read() as connection:
        taken = connection.default_channel.basic_get("classify", no_ack=False)
        assert taken is not None
        assert connection.default_channel.client.hlen("unacked") == 1
        assert queue.is_idle()
        taken.ack()
