"""What every entry point does first: settings, logs, deployment; and how it is watched."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from billiard import current_process
from celery import Celery
from celery.signals import heartbeat_sent, setup_logging, worker_process_init, worker_ready, worker_shutting_down

from fractureai.bootstrap import ROLES, Deployment
from fractureai.logs import configure_logging
from fractureai.metrics.processes import Pulse, export, process_meters, worker_meters
from fractureai.settings import Settings, load_settings
from fractureai.tasks import watchdog
from fractureai.tasks.observing import TaskObserver

_LOG = logging.getLogger(__name__)

CANNOT_WORK = 78
"""The exit code of a worker whose parts are not there; ``EX_CONFIG``."""

_LOOK_EVERY_S = 5.0
_PAUSE_S = 30.0
# Celery's heartbeat goes out every two seconds while the queue takes it.
_SILENT_S = 30.0
# Longer than what runs may take to end (``worker_soft_shutdown_timeout``), shorter than anybody waits with the kill.
_ENDED_WITHIN_S = 45.0


def deployment(name: str) -> Deployment:
    """Read the settings, configure the logs; ``name`` says who counts."""
    settings = _settings()
    return Deployment(settings, process_meters(name, settings.metrics.dir))


def celery_app(role: str) -> Celery:
    """Build the Celery application of a worker, warm in each child before its first task."""
    settings = _settings()
    watched = settings.metrics
    # A worker that nobody can ask need not keep files for its children's counts.
    meters = (
        worker_meters(role, watched.dir, index=lambda: getattr(current_process(), "index", None))
        if watched.port or watched.dir
        else process_meters(role, None)
    )
    built = Deployment(settings, meters)
    TaskObserver(meters.instruments).listen()
    connected = Pulse(_SILENT_S)

    @setup_logging.connect(weak=False)
    def keep_our_logs(**_: Any) -> None:
        """Celery leaves the logs alone if somebody listens here."""

    told, tells = os.pipe()
    os.set_blocking(told, False)

    @worker_process_init.connect(weak=False)
    def warm(**_: Any) -> None:
        try:
            built.warm(role)
        except Exception:  # whatever it is, this child cannot do its work
            # The main process may hold a message by now; nobody has leased its study, so it is soon sent again.
            _LOG.exception("a part of this worker is missing; it ends, and takes no work")
            os.write(tells, b"x")
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(_PAUSE_S)
            os._exit(CANNOT_WORK)

    @worker_shutting_down.connect(weak=False)
    def say_why(**_: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(told, 1):
                watchdog.end_family(CANNOT_WORK)

    @heartbeat_sent.connect(weak=False)
    def alive(**_: Any) -> None:
        connected.beat()

    @worker_ready.connect(weak=False)
    def show(**_: Any) -> None:
        export(meters, watched.host, watched.port, ready={"queue": connected})
        _watch(built, role)
        _end_when_told()

    return built.celery


def _end_when_told() -> None:
    """Bound Celery's own end. It tells nobody of it before it has been through most of it, where it can hang."""
    for number in (signal.SIGTERM, signal.SIGQUIT):
        theirs = signal.getsignal(number)
        if callable(theirs):
            signal.signal(number, _bounded(theirs))


def _bounded(theirs: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
    def end(number: int, frame: FrameType | None) -> None:
        watchdog.end_at_the_latest(_ENDED_WITHIN_S)
        theirs(number, frame)

    return end


def _watch(built: Deployment, role: str) -> None:
    work, limits = built.settings.work, built.settings.queue
    longest_s = limits.intake_time_limit_s if "intake" in ROLES[role] else limits.task_time_limit_s
    judge = watchdog.Judge(idle_s=work.stand_still_s, busy_s=longest_s + work.stand_still_s)
    watchdog.watch(
        lambda: watchdog.look(built.celery, ROLES[role]),
        judge,
        every_s=_LOOK_EVERY_S,
        pulse=work.pulse_dir / role if work.pulse_dir else None,
    )


def _settings() -> Settings:
    settings = load_settings()
    configure_logging(style=settings.log_format, level=settings.log_level)
    return settings
