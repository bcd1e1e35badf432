"""The tasks: when and on which queue. What happens is in ``fractureai.stages``, which knows no Celery."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task

from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.stages import classify, deliver, detect, explain, intake, report
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_SUBJECT = re.compile(r"[0-9a-f]{32}(-[0-9]+(-\S.{0,99})?)?")
_PAUSE_S = 1.0
_SOFT_S = 30

_STAGES: dict[Stage, Callable[[str, StagePorts], str]] = {
    Stage.CLASSIFY: classify.run,
    Stage.DETECT: detect.run,
    Stage.EXPLAIN: explain.run,
    Stage.REPORT: report.run,
}


def task_name(stage: Stage) -> str:
    """The registered name of a stage's task."""
    return f"fractureai.{stage}"


INTAKE = "fractureai.intake"
NOTIFY = "fractureai.notify"


class StageTask(Task):
    """A lost child is tried again at most thrice; the ledger's count of attempts is the bound that survives all."""

    abstract = True
    max_retries = 3
    default_retry_delay = 5


def register_tasks(app: Celery, ports: Callable[[], StagePorts]) -> None:
    """Add the four stages, the intake and the deliveries to the application.

    ``ports`` is called in the process that works, after the fork, so that nothing heavy is built before.
    """
    for stage, run in _STAGES.items():
        _register(app, task_name(stage), run, ports)
    limit_s = app.conf.fractureai_intake_time_limit_s
    _register(app, INTAKE, intake.run, ports, time_limit=limit_s, soft_time_limit=limit_s - _SOFT_S)
    _register(app, NOTIFY, deliver.run, ports)


def _register(
    app: Celery, name: str, run: Callable[[str, StagePorts], str], ports: Callable[[], StagePorts], **options: Any
) -> None:
    # Not shared: another application in this process has its own ports behind the same names.
    @app.task(name=name, base=StageTask, shared=False, **options)
    def task(subject_id: Any = None, *_: Any, **__: Any) -> str:
        # Whoever reaches Redis can have written it.
        if not isinstance(subject_id, str) or not _SUBJECT.fullmatch(subject_id):
            _LOG.error("%s: a message without an id of ours", name)
            return "junk"
        try:
            return run(subject_id, ports())
        except TransientFailure as failure:
            # The ledger is away, and remembers; the scheduler sends it again. Not so fast with the next one.
            _LOG.warning("%s %s: %s; put off", name, subject_id, failure)
            time.sleep(_PAUSE_S)
            return "put_off"
