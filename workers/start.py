"""What every entry point does first: settings, logs, deployment."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init

from fractureai.bootstrap import Deployment
from fractureai.logs import configure_logging
from fractureai.settings import load_settings


def deployment() -> Deployment:
    """Read the settings and configure the logs."""
    settings = load_settings()
    configure_logging(style=settings.log_format, level=settings.log_level)
    return Deployment(settings)


def celery_app(role: str) -> Celery:
    """Build the Celery application of a worker, warm in each child before its first task."""
    built = deployment()

    @setup_logging.connect(weak=False)
    def keep_our_logs(**_: Any) -> None:
        """Celery leaves the logs alone if somebody listens here."""

    @worker_process_init.connect(weak=False)
    def warm(**_: Any) -> None:
        built.warm(role)

    return built.celery
