"""How much work waits, looked at when somebody asks: the queue's lists and the ledger's open studies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fractureai.domain.records import OpenWork
from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure

if TYPE_CHECKING:
    from fractureai.domain.ports import Ledger, Queue

_KEPT_S = 5.0


@dataclass(frozen=True, slots=True)
class _Look:
    waiting: dict[str, int] | None
    held: int | None
    work: list[OpenWork] | None
    now_s: float


class WorkCollector(Collector):
    """Gauges of the work that is open. Several scrapers within five seconds cost one look.

    A part that is away is missing from the answer, and ``fractureai_component_up`` says so; a scrape never fails.

    Parameters
    ----------
    ledger, queue:
        Asked for at the first scrape, so that a process that nobody scrapes opens nothing.
    clock:
        Seconds since the epoch.
    """

    def __init__(
        self, ledger: Callable[[], Ledger], queue: Callable[[], Queue], clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._clock = clock
        self._lock = threading.Lock()
        self._look: _Look | None = None

    def describe(self) -> Iterable[Metric]:
        """No names beforehand: registering must not open a connection."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Look, or say again what was seen a moment ago."""
        with self._lock:
            now_s = self._clock()
            if self._look is None or not 0 <= now_s - self._look.now_s < _KEPT_S:
                self._look = self._fresh(now_s)
            look = self._look
        up = GaugeMetricFamily("fractureai_component_up", "Whether it answers.", labels=("component",))
        up.add_metric(("queue",), float(look.waiting is not None))
        up.add_metric(("ledger",), float(look.work is not None))
        yield up
        if look.waiting is not None and look.held is not None:
            yield from _of_queue(look.waiting, look.held)
        if look.work is not None:
            yield from _of_ledger(look.work, look.now_s)

    def _fresh(self, now_s: float) -> _Look:
        waiting, held, work = None, None, None
        with contextlib.suppress(TransientFailure):
            depths = self._queue().depths()
            waiting, held = depths.waiting, depths.unacknowledged
        with contextlib.suppress(TransientFailure):
            work = self._ledger().open_work(now_s=now_s)
        return _Look(waiting, held, work, now_s)


def _of_queue(waiting: dict[str, int], held: int) -> Iterator[Metric]:
    messages = GaugeMetricFamily("fractureai_queue_messages", "Messages that wait for a worker.", labels=("queue",))
    for queue, number in waiting.items():
        messages.add_metric((queue,), number)
    yield messages
    yield GaugeMetricFamily("fractureai_queue_unacknowledged_messages", "Messages that are with a worker.", value=held)


def _of_ledger(work: list[OpenWork], now_s: float) -> Iterator[Metric]:
    by_stage = {entry.stage: entry for entry in work}
    studies = GaugeMetricFamily("fractureai_open_studies", "Open studies by the stage they are at.", labels=("stage",))
    leases = GaugeMetricFamily("fractureai_open_leases", "Studies a worker holds at a stage.", labels=("stage",))
    oldest = GaugeMetricFamily(
        "fractureai_oldest_waiting_seconds",
        "How long the study has waited at a stage that waits longest; 0 if none does.",
        labels=("stage",),
    )
    for stage in Stage:
        entry = by_stage.get(stage, OpenWork(stage, 0, 0, None))
        studies.add_metric((stage.value,), entry.open_studies)
        leases.add_metric((stage.value,), entry.leased)
        waited = 0.0 if entry.waiting_since_s is None else max(0.0, now_s - entry.waiting_since_s)
        oldest.add_metric((stage.value,), waited)
    yield from (studies, leases, oldest)
