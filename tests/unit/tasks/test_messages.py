"""What goes over the wire, and the settings that keep work from being lost."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.tasks.app import QUEUES, QueueSettings, create_app
from fractureai.tasks.pipeline import register_tasks
from fractureai.tasks.queue import CeleryQueue

_ID = uuid.uuid4().hex


def _no_ports() -> Any:
    raise AssertionError("publishing must not build a worker's parts")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """The application over a broker that keeps messages as files."""
    app = create_app(QueueSettings("filesystem://"))
    folders = {name: str(tmp_path / name) for name in ("in", "processed", "control")}
    for folder in folders.values():
        Path(folder).mkdir()
    app.conf.broker_transport_options = {
        "data_folder_in": folders["in"],
        "data_folder_out": folders["in"],
        "processed_folder": folders["processed"],
        "control_folder": folders["control"],
    }
    register_tasks(app, _no_ports)
    yield app
    app.close()


def _messages(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((tmp_path / "in").iterdir())]


def test_a_chain_is_one_message_with_ids_only(app: Celery, tmp_path: Path) -> None:
    CeleryQueue(app).publish_study(_ID, Stage.CLASSIFY)
    (message,) = _messages(tmp_path)
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "fractureai.classify"
    args, kwargs, embed = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([_ID], {})
    links = embed["chain"]
    assert [link["task"] for link in reversed(links)] == [
        "fractureai.detect",
        "fractureai.explain",
        "fractureai.report",
    ]
    assert [link["options"]["queue"] for link in reversed(links)] == ["detect", "explain", "report"]
    assert all(link["args"] == [_ID] and link["immutable"] for link in links)
    assert len(json.dumps(message)) < 6000


@pytest.mark.parametrize("stage", list(Stage))
def test_a_chain_can_begin_at_any_stage(app: Celery, tmp_path: Path, stage: Stage) -> None:
    CeleryQueue(app).publish_study(_ID, stage)
    (message,) = _messages(tmp_path)
    assert message["headers"]["task"] == f"fractureai.{stage}"
    assert message["properties"]["delivery_info"]["routing_key"] == stage.value


def test_a_batch_goes_to_the_intake_queue(app: Celery, tmp_path: Path) -> None:
    CeleryQueue(app).publish_batch(_ID)
    (message,) = _messages(tmp_path)
    assert message["properties"]["delivery_info"]["routing_key"] == "intake"


def test_the_news_of_a_study_goes_to_a_queue_of_its_own(app: Celery, tmp_path: Path) -> None:
    CeleryQueue(app).publish_delivery(f"{_ID}-7")
    (message,) = _messages(tmp_path)
    assert message["properties"]["delivery_info"]["routing_key"] == "delivery"
    assert message["headers"]["task"] == "fractureai.notify"


def test_a_queue_that_is_away_is_a_transient_failure(tmp_path: Path) -> None:
    app = create_app(QueueSettings(f"redis+socket://{tmp_path / 'nobody.sock'}"))
    register_tasks(app, _no_ports)
    queue = CeleryQueue(app)
    with pytest.raises(TransientFailure, match="queue_unavailable"):
        queue.publish_study(_ID, Stage.CLASSIFY)
    with pytest.raises(TransientFailure, match="queue_unavailable"):
        queue.line()


def test_settings_that_lost_work_elsewhere_are_as_they_must_be() -> None:
    conf = create_app(QueueSettings("memory://")).conf
    assert conf.task_serializer == "json"
    assert conf.accept_content == ["json"]
    assert conf.result_backend is None
    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert conf.task_retry_on_worker_lost
    assert not conf.task_reject_on_worker_lost
    assert conf.worker_enable_remote_control
    assert conf.broker_transport_options["visibility_timeout"] > 2 * conf.task_time_limit
    assert conf.task_soft_time_limit < conf.task_time_limit
    assert {queue.name for queue in conf.task_queues} == set(QUEUES)


def test_a_visibility_timeout_that_repeats_running_work_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        create_app(QueueSettings("memory://", task_time_limit_s=180, visibility_timeout_s=360))


def test_every_task_may_be_tried_thrice_and_no_more() -> None:
    app = create_app(QueueSettings("memory://"))
    register_tasks(app, _no_ports)
    own = {name: task for name, task in app.tasks.items() if name.startswith("fractureai.")}
    assert set(own) == {"fractureai.intake", "fractureai.notify", *(f"fractureai.{stage}" for stage in Stage)}
    assert {task.max_retries for task in own.values()} == {3}
