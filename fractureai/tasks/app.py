"""The Celery application: every setting that is not the default, with its reason.

No result backend: the ledger holds all state, and a backend on Redis was measured to lose tasks at reconnection.
Messages are JSON and carry ids only, so that nothing of a patient is ever in Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu import Queue

from fractureai.domain.records import Priority
from fractureai.tasks.envelope import stamp_messages
from fractureai.tasks.transport import read_carefully

WORK_QUEUES = ("intake", "classify", "detect", "explain", "report")
QUEUES = (*WORK_QUEUES, "delivery")
PRIORITY_STEPS = {Priority.WALK_IN: 0, Priority.BULK: 5}
"""Each queue is a list for each: ``classify`` and ``classify:5``. Workers empty those of the first step first."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Where the queue is and how long a task may take.

    Attributes
    ----------
    url:
        ``redis://…``, ``rediss://…`` or ``redis+socket:///path``.
    prefix:
        Put before every key, so that several installations can share a Redis.
    intake_time_limit_s:
        For a batch of thousands. Beyond the visibility timeout its message comes again, and finds the batch leased.
    max_memory_bytes:
        A child of a worker that has grown beyond is replaced after its task.
    """

    url: str
    prefix: str = "fractureai:"
    task_time_limit_s: int = 180
    visibility_timeout_s: int = 900
    intake_time_limit_s: int = 3600
    max_memory_bytes: int = 2 << 30


def create_app(settings: QueueSettings) -> Celery:
    """Build the application, without tasks and without a connection."""
    if settings.visibility_timeout_s <= 2 * settings.task_time_limit_s:
        raise ValueError("the visibility timeout must be more than twice the time limit, or running work is repeated")
    read_carefully()
    app = Celery("fractureai", broker=settings.url, set_as_current=False)
    app.conf.update(_settings(settings))
    app.conf.fractureai_intake_time_limit_s = settings.intake_time_limit_s
    stamp_messages()
    return app


def _settings(settings: QueueSettings) -> dict[str, Any]:
    return {
        # Pickle would let anyone who reaches Redis run code here.
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # A message is acknowledged after the work, so that a dead worker's message comes back.
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        # A lost child is tried again a bounded number of times; rejecting instead loops for ever.
        "task_retry_on_worker_lost": True,
        "task_reject_on_worker_lost": False,
        # Hard limit ends a hung child; the soft one before it lets the stage give its lease back.
        "task_time_limit": settings.task_time_limit_s,
        "task_soft_time_limit": max(1, settings.task_time_limit_s - 30),
        # Only running work is held by a worker; the rest stays in Redis for the others.
        "worker_prefetch_multiplier": 1,
        # Cancelling at a lost connection was measured to acknowledge, and so lose, the task.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Without remote control a worker was measured to stand still after Redis restarts.
        "worker_enable_remote_control": True,
        "worker_send_task_events": False,
        # A guard against leaks in native libraries.
        "worker_max_tasks_per_child": 5000,
        # A child loads its models before it says that it is up; after the default of 4 s it would be killed for that.
        "worker_proc_alive_timeout": 180.0,
        "worker_max_memory_per_child": settings.max_memory_bytes // 1024,
        # With SIGTERM remapped to SIGQUIT: what runs may end within this time, the rest goes back to the queue. One
        # that holds nothing ends at once.
        "worker_soft_shutdown_timeout": 20,
        "worker_enable_soft_shutdown_on_idle": False,
        "worker_hijack_root_logger": False,
        # Reconnect for ever; the default gives up after a hundred tries.
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A publish that cannot be sent must fail soon: the ledger remembers it, the sender waits for its 202.
        "broker_pool_acquire_timeout": 5,
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.2},
        "broker_transport_options": {
            # Above twice the time limit, or running work is handed out twice; below, a dead worker's work waits long.
            "visibility_timeout": settings.visibility_timeout_s,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": settings.prefix,
            "priority_steps": list(PRIORITY_STEPS.values()),
            "sep": ":",
            # Lists of the first step of all queues come first; within a step, queues take turns.
            "queue_order_strategy": "round_robin",
        },
        "visibility_timeout": settings.visibility_timeout_s,
        "task_default_queue": "classify",
        "task_create_missing_queues": False,
        "task_queues": [Queue(name) for name in QUEUES],
    }
