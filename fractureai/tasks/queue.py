"""The ``Queue`` port over Celery: one chain a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery, Signature, chain
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from fractureai.domain.ports import QueueDepths
from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.tasks.app import QUEUES, WORK_QUEUES
from fractureai.tasks.pipeline import INTAKE, NOTIFY, task_name


class CeleryQueue:
    """Publishes ids; holds nothing that would be missed."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish_study(self, study_id: str, stage: Stage) -> None:
        """Queue the chain from ``stage`` on.

        The whole rest of the chain travels in the first message. A link that arrives when its stage is not due does
        nothing, so a chain sent twice is harmless.
        """
        links = [self._signature(task_name(step), study_id, step.value) for step in stage.remaining]
        with _translated():
            chain(*links, app=self._app).apply_async() if len(links) > 1 else links[0].apply_async()

    def publish_batch(self, batch_id: str) -> None:
        """Queue the unpacking of a batch."""
        with _translated():
            self._signature(INTAKE, batch_id, "intake").apply_async()

    def publish_delivery(self, delivery_id: str) -> None:
        """Queue the news of a finished study."""
        with _translated():
            self._signature(NOTIFY, delivery_id, "delivery").apply_async()

    def is_idle(self) -> bool:
        """Whether the lists of the work (not of deliveries) are empty.

        Unacknowledged messages do not count: those of a dead worker lie there until the visibility timeout, and what
        a living one works on is leased in the ledger.
        """
        with _translated(), self._app.connection_for_read() as connection:
            channel = connection.default_channel
            return all(channel._size(name) == 0 for name in WORK_QUEUES)

    def depths(self) -> QueueDepths:
        """How much is waiting in each list, and with workers."""
        with _translated(), self._app.connection_for_read() as connection:
            channel = connection.default_channel
            waiting = {name: int(channel._size(name)) for name in QUEUES}
            return QueueDepths(waiting, int(channel.client.hlen(channel.unacked_key)))

    def _signature(self, name: str, subject_id: str, queue: str) -> Signature:
        return self._app.signature(name, args=(subject_id,), immutable=True, queue=queue)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, RedisError, OSError) as error:
        raise TransientFailure("queue_unavailable", type(error).__name__) from error
