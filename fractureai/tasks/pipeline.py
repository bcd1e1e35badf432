"""The tasks: when and on which queue. What happens is in ``fractureai.stages``, which knows no Celery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Task

from fractureai.domain.study import Stage
from fractureai.stages import classify, deliver, detect, explain, intake, report
from fractureai.stages.ports import StagePorts

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
    _register(app, INTAKE, intake.run, ports)
    _register(app, NOTIFY, deliver.run, ports)


def _register(app: Celery, name: str, run: Callable[[str, StagePorts], str], ports: Callable[[], StagePorts]) -> None:
    # Not shared: another application in this process has its own ports behind the same names.
    @app.task(name=name, base=StageTask, shared=False)
    def task(subject_id: str) -> Any:
        return run(subject_id, ports())
