"""A Celery worker of any role: its parts are tried first, its children are warm before their first task."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from billiard import current_process
from celery.signals import heartbeat_sent, setup_logging, worker_process_init, worker_ready

from fractureai.bootstrap import ROLES, Deployment
from fractureai.errors import CANNOT_WORK, BrokenDeployment
from fractureai.logs import configure_logging
from fractureai.metrics.processes import Pulse, export, process_meters, worker_meters
from fractureai.metrics.shared import Meters
from fractureai.processes.start import keep_beating, process_name
from fractureai.settings import load_settings
from fractureai.tasks import watchdog
from fractureai.tasks.observing import TaskObserver

_LOG = logging.getLogger(__name__)

# From a child whose parts are missing to its parent. Celery leaves this signal alone.
_NO_USE = signal.SIGUSR2
_LOOK_EVERY_S = 5.0
_PAUSE_S = 30.0
# Celery's heartbeat goes out every two seconds while the queue takes it.
_SILENT_S = 30.0
# Longer than what runs may take to end (``worker_soft_shutdown_timeout``), shorter than supervisors wait with the kill.
_ENDED_WITHIN_S = 45.0


def run(role: str, *, concurrency: int = 1) -> int:
    """Serve the queues of a role until told to stop; returns the exit code.

    ``REMAP_SIGTERM=SIGQUIT`` must be in the environment before this module is imported: Celery reads it then. With
    it, SIGTERM means: finish what runs within the set time, give the rest back, end.
    """
    settings = load_settings()
    configure_logging(style=settings.log_format, level=settings.log_level)
    watched = settings.metrics
    # A worker that nobody can ask need not keep files for its children's counts.
    meters = (
        worker_meters(role, watched.dir, index=lambda: getattr(current_process(), "index", None))
        if watched.port or watched.dir
        else process_meters(role, None)
    )
    built = Deployment(settings, meters)
    try:
        built.check_parts(role)
    except BrokenDeployment as error:
        _LOG.critical("this worker cannot work and takes no work: %s", error)
        return CANNOT_WORK
    TaskObserver(meters.instruments).listen()
    name = process_name(role)
    _listen(built, role, name, meters)
    worker = built.celery.Worker(
        hostname=name, queues=ROLES[role], concurrency=concurrency, loglevel="WARNING", quiet=True,
        without_gossip=True, without_mingle=True,
    )  # fmt: skip
    worker.start()
    return int(worker.exitcode or 0)


def _listen(built: Deployment, role: str, name: str, meters: Meters) -> None:
    """Connect to Celery's signals what this worker does besides its tasks."""
    watched = built.settings.metrics
    connected = Pulse(_SILENT_S)

    @setup_logging.connect(weak=False)
    def keep_our_logs(**_: Any) -> None:
        """Celery leaves the logs alone if this signal has a receiver."""

    main = os.getpid()
    # Shared with the children, which are forks.
    warmed = mmap.mmap(-1, 1)
    signal.signal(_NO_USE, lambda *_: watchdog.end_family(CANNOT_WORK))

    @worker_process_init.connect(weak=False)
    def warm(**_: Any) -> None:
        try:
            built.warm(role)
        except Exception as error:  # whatever it is, this child cannot do its work
            # The main process may hold a message by now; nobody has leased its study, so it is soon sent again.
            known = isinstance(error, BrokenDeployment)
            _LOG.critical("this worker cannot work and takes no work: %s", error, exc_info=not known)
            if os.getppid() == main:
                os.kill(main, _NO_USE)
            time.sleep(_PAUSE_S)
            os._exit(CANNOT_WORK)
        warmed[0] = 1

    @heartbeat_sent.connect(weak=False)
    def alive(**_: Any) -> None:
        connected.beat()

    @worker_ready.connect(weak=False)
    def show(**_: Any) -> None:
        parts = {"parts": lambda: "ok" if warmed[0] else "starting"}
        export(meters, watched.host, watched.port, ready={"queue": connected, **parts})
        _watch(built, role, lambda: bool(warmed[0]))
        keep_beating(built, name, role, lambda: bool(warmed[0]))
        _end_when_told()


def _end_when_told() -> None:
    """Bound Celery's own end: it announces it only after most of it, where it can hang."""
    for number in (signal.SIGTERM, signal.SIGQUIT):
        theirs = signal.getsignal(number)
        if callable(theirs):
            signal.signal(number, _bounded(theirs))


def _bounded(theirs: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
    def end(number: int, frame: FrameType | None) -> None:
        watchdog.end_at_the_latest(_ENDED_WITHIN_S)
        theirs(number, frame)

    return end


def _watch(built: Deployment, role: str, ready: Callable[[], bool]) -> None:
    work, limits = built.settings.work, built.settings.queue
    longest_s = limits.intake_time_limit_s if "intake" in ROLES[role] else limits.task_time_limit_s
    judge = watchdog.Judge(idle_s=work.stand_still_s, busy_s=longest_s + work.stand_still_s)
    watchdog.watch(
        lambda: watchdog.look(built.celery, ROLES[role]),
        judge,
        every_s=_LOOK_EVERY_S,
        pulse=work.pulse_dir / role if work.pulse_dir else None,
        ready=ready,
    )
