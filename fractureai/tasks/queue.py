"""The ``Queue`` port over Celery: one chain a study."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery, Signature, chain
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from fractureai.domain.ports import QueueDepths, QueueLine
from fractureai.domain.records import Priority
from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.tasks.app import PRIORITY_STEPS, QUEUES, WORK_QUEUES
from fractureai.tasks.envelope import sent_at_s
from fractureai.tasks.pipeline import INTAKE, NOTIFY, task_name

_LOG = logging.getLogger(__name__)

_REST_S = 5.0
"""After a publish that failed, the next ones fail at once for so long: a sender who waits for a 202 waits once."""


class CeleryQueue:
    """Publishes ids; holds nothing that would be missed."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._away_until_s = 0.0

    def publish_study(self, study_id: str, stage: Stage, priority: Priority = Priority.WALK_IN) -> None:
        """Queue the chain from ``stage`` on.

        The whole rest of the chain travels in the first message. A link that arrives when its stage is not due does
        nothing, so a chain sent twice is harmless.
        """
        links = [self._signature(task_name(step), study_id, step.value, priority) for step in stage.remaining]
        with self._publishing():
            chain(*links, app=self._app).apply_async() if len(links) > 1 else links[0].apply_async()

    def publish_batch(self, batch_id: str, priority: Priority = Priority.WALK_IN) -> None:
        """Queue the unpacking of a batch."""
        with self._publishing():
            self._signature(INTAKE, batch_id, "intake", priority).apply_async()

    def publish_delivery(self, delivery_id: str) -> None:
        """Queue the news of a finished study."""
        with self._publishing():
            self._signature(NOTIFY, delivery_id, "delivery").apply_async()

    def line(self) -> QueueLine:
        """What waits in the lists of the work (not of deliveries).

        Unacknowledged messages do not count: those of a dead worker lie there until the visibility timeout, and what
        a living one works on is leased in the ledger.
        """
        with translated(), self._app.connection_for_read() as connection:
            channel = connection.default_channel
            lists = {
                (name, priority): channel._q_for_pri(name, PRIORITY_STEPS[priority])
                for name in WORK_QUEUES
                for priority in Priority
            }
            # Kombu's client puts the prefix before the keys of the commands that kombu itself uses; LINDEX is none.
            prefix = channel.global_keyprefix or ""
            with channel.conn_or_acquire() as client:
                with client.pipeline(transaction=False) as asked:
                    for key in lists.values():
                        # Taken from the right: the last is the next in line.
                        asked.llen(key).lindex(prefix + key, -1)
                    answers = asked.execute(raise_on_error=False)
                _remove_what_is_no_list(client, lists.values(), answers)
        lengths = dict(zip(lists, answers[::2], strict=True))
        heads = dict(zip(lists, answers[1::2], strict=True))
        return QueueLine(
            waiting=sum(lengths[stage.value, priority] for stage in Stage for priority in Priority),
            batches=sum(lengths["intake", priority] for priority in Priority),
            sent_s={
                (stage, priority): sent_at_s(heads[stage.value, priority])
                for stage in Stage
                for priority in Priority
                if heads[stage.value, priority] is not None
            },
        )

    def waiting(self, queues: Sequence[str]) -> dict[str, int]:
        """How many messages wait in each of some queues."""
        with translated(), self._app.connection_for_read() as connection:
            return {name: int(connection.default_channel._size(name)) for name in queues}

    def depths(self) -> QueueDepths:
        """How much is waiting in each list, and with workers."""
        with translated(), self._app.connection_for_read() as connection:
            channel = connection.default_channel
            waiting = {name: int(channel._size(name)) for name in QUEUES}
            return QueueDepths(waiting, int(channel.client.hlen(channel.unacked_key)))

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        if time.monotonic() < self._away_until_s:
            raise TransientFailure("queue_unavailable", "resting")
        try:
            with translated():
                yield
        except TransientFailure:
            self._away_until_s = time.monotonic() + _REST_S
            raise

    def _signature(self, name: str, subject_id: str, queue: str, priority: Priority = Priority.WALK_IN) -> Signature:
        step = PRIORITY_STEPS[priority]
        return self._app.signature(name, args=(subject_id,), immutable=True, queue=queue, priority=step)


def _remove_what_is_no_list(client: Any, keys: Iterable[str], answers: Sequence[Any]) -> None:
    """Somebody has put something else in a list's place, and no worker could read it: the ledger has what was in it."""
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    for error in errors:
        if not str(error).startswith("WRONGTYPE"):
            raise error
    if errors:
        for key, answer in zip(keys, answers[::2], strict=True):
            if isinstance(answer, Exception):
                _LOG.error("%s is no list; it is removed", key)
                client.delete(key)
        raise TransientFailure("queue_unavailable", "a list was replaced")


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the queue's client raises as ``TransientFailure('queue_unavailable')``."""
    try:
        yield
    except (OperationalError, RedisError, OSError) as error:
        raise TransientFailure("queue_unavailable", type(error).__name__) from error
