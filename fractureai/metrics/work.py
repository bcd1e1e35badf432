"""How much work waits, looked at when somebody asks: the queue's lists and the ledger's open studies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fractureai.domain.records import OpenWork
from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure

if TYPE_CHECKING:
    from fractureai.domain.ports import Ledger, Queue, QueueDepths

_KEPT_S = 5.0
_PATIENCE_S = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Look:
    depths: QueueDepths | None
    work: list[OpenWork] | None
    now_s: float


class WorkCollector(Collector):
    """Gauges of the work that is open. Several scrapers within five seconds cost one look.

    A part that is away is missing from the answer, and ``fractureai_component_up`` says so; a scrape neither fails nor
    waits for it.

    Parameters
    ----------
    ledger, queue:
        Asked for at the first scrape, so that a process that nobody scrapes opens nothing.
    clock:
        Seconds since the epoch.
    patience_s:
        How long a scrape waits for both; a part that has not answered by then is away.
    """

    def __init__(
        self,
        ledger: Callable[[], Ledger],
        queue: Callable[[], Queue],
        clock: Callable[[], float] = time.time,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._depths = _Question(lambda: queue().depths())
        self._work = _Question(lambda: ledger().open_work(now_s=clock()))
        self._clock = clock
        self._patience_s = patience_s
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
        up.add_metric(("queue",), float(look.depths is not None))
        up.add_metric(("ledger",), float(look.work is not None))
        yield up
        if look.depths is not None:
            yield from _of_queue(look.depths)
        if look.work is not None:
            yield from _of_ledger(look.work, look.now_s)

    def _fresh(self, now_s: float) -> _Look:
        self._depths.ask()
        self._work.ask()
        until_s = time.monotonic() + self._patience_s
        return _Look(self._depths.answer(until_s), self._work.answer(until_s), now_s)


class _Question(Generic[T]):
    """Asked in a thread of its own: what is away may take longer to say so than whoever asks can wait."""

    def __init__(self, put: Callable[[], T]) -> None:
        self._put = put
        self._thread: threading.Thread | None = None
        self._answer: T | None = None

    def ask(self) -> None:
        """Ask, unless an answer is still awaited."""
        if self._thread is None or not self._thread.is_alive():
            self._answer = None
            self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)
            self._thread.start()

    def answer(self, until_s: float) -> T | None:
        """What was answered; ``None`` if nothing was until then (``time.monotonic``)."""
        if self._thread is None:
            return None
        self._thread.join(max(0.0, until_s - time.monotonic()))
        return None if self._thread.is_alive() else self._answer

    def _run(self) -> None:
        with contextlib.suppress(TransientFailure):
            self._answer = self._put()


def _of_queue(depths: QueueDepths) -> Iterator[Metric]:
    messages = GaugeMetricFamily("fractureai_queue_messages", "Messages that wait for a worker.", labels=("queue",))
    for queue, number in depths.waiting.items():
        messages.add_metric((queue,), number)
    yield messages
    yield GaugeMetricFamily(
        "fractureai_queue_unacknowledged_messages", "Messages that are with a worker.", value=depths.unacknowledged
    )


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
