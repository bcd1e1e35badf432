"""What is seen of a task from outside: its names in the logs, its time, the request it comes from.

A request's id travels in the headers of the first message and of every message that a task sends on.
"""

from __future__ import annotations

import time
from typing import Any

from celery import Task
from celery.signals import before_task_publish, task_postrun, task_prerun

from fractureai import tracing
from fractureai.metrics.instruments import Instruments

REQUEST_HEADER = "fractureai_request"
_OURS = "fractureai."
_STUDIES = frozenset({"classify", "detect", "explain", "report"})


def carry_request_ids() -> None:
    """From here on, every message this process publishes says which request it comes from, if one is bound."""
    before_task_publish.connect(_put_request_id, weak=False, dispatch_uid="fractureai.requests")


def _put_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None and (request_id := tracing.request_id()):
        headers[REQUEST_HEADER] = request_id


class TaskObserver:
    """Listens to the tasks of a worker process.

    Parameters
    ----------
    instruments:
        Where runs and their time are counted.
    """

    def __init__(self, instruments: Instruments) -> None:
        self._count = instruments
        self._running: dict[str, tuple[tracing.Bound, float]] = {}

    def listen(self) -> None:
        """From here on, in this process and the children it forks."""
        task_prerun.connect(self._begin, weak=False, dispatch_uid="fractureai.begin")
        task_postrun.connect(self._end, weak=False, dispatch_uid="fractureai.end")

    def _begin(self, task_id: str, task: Task, args: Any = (), **_: Any) -> None:
        if not task.name.startswith(_OURS):
            return
        stage = task.name.removeprefix(_OURS)
        names: dict[str, object] = {"stage": stage}
        if args and stage in _STUDIES:
            names["study_id"] = args[0]
        elif args and stage == "intake":
            names["batch_id"] = args[0]
        request_id = str(getattr(task.request, REQUEST_HEADER, None) or "")
        if tracing.well_formed(request_id):  # whoever reaches Redis could have written it
            names["request_id"] = request_id
        self._running[task_id] = (tracing.bind_only(**names), time.perf_counter())

    def _end(self, task_id: str, task: Task, retval: Any = None, **_: Any) -> None:
        began = self._running.pop(task_id, None)
        if began is None:
            return
        bound, began_s = began
        tracing.unbind(bound)
        stage = task.name.removeprefix(_OURS)
        result = retval if isinstance(retval, str) else "error"
        self._count.stage_runs.labels(stage, result).inc()
        if result != "not_due":
            self._count.stage_duration.labels(stage).observe(time.perf_counter() - began_s)
