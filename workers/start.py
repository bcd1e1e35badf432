"""What every entry point does first: settings, logs, deployment; and how it is watched."""

from __future__ import annotations

from typing import Any

from billiard import current_process
from celery import Celery
from celery.signals import heartbeat_sent, setup_logging, worker_process_init, worker_ready

from fractureai.bootstrap import Deployment
from fractureai.logs import configure_logging
from fractureai.metrics.processes import Pulse, export, process_meters, worker_meters
from fractureai.settings import Settings, load_settings
from fractureai.tasks.observing import TaskObserver

# Celery's heartbeat goes out every two seconds while the queue takes it.
_SILENT_S = 30.0


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

    @worker_process_init.connect(weak=False)
    def warm(**_: Any) -> None:
        built.warm(role)

    @heartbeat_sent.connect(weak=False)
    def alive(**_: Any) -> None:
        connected.beat()

    @worker_ready.connect(weak=False)
    def show(**_: Any) -> None:
        export(meters, watched.host, watched.port, ready={"queue": connected})

    return built.celery


def _settings() -> Settings:
    settings = load_settings()
    configure_logging(style=settings.log_format, level=settings.log_level)
    return settings
