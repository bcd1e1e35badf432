"""The web process: ``gunicorn "fractureai.processes.web:application()"``, or ``fractureai web``."""

from __future__ import annotations

import logging

from flask import Flask

from fractureai.errors import BrokenDeployment
from fractureai.metrics.exporter import Exporter
from fractureai.processes.start import deployment, keep_beating, process_name


def application() -> Flask:
    """Build the WSGI application of this process, and its exporter."""
    built = deployment("web")
    app = built.web()
    keep_beating(built, process_name("web"), "web")
    watched = built.settings.metrics
    if watched.port:
        try:
            Exporter(watched.host, watched.port, built.registry)
        except BrokenDeployment:  # a second process of one gunicorn: the first shows the counts of all
            logging.getLogger(__name__).warning("this process serves no metrics of its own", exc_info=True)
    return app
