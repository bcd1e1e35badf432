"""The web process, for a WSGI server: ``gunicorn workers.web:app``, or ``fractureai web``."""

from __future__ import annotations

import logging

from fractureai.errors import BrokenDeployment
from fractureai.metrics.exporter import Exporter
from workers.start import deployment

_BUILT = deployment("web")
app = _BUILT.web()

if _BUILT.settings.metrics.port:
    try:
        Exporter(_BUILT.settings.metrics.host, _BUILT.settings.metrics.port, _BUILT.registry)
    except BrokenDeployment:  # a second process of one gunicorn: the first shows the counts of all
        logging.getLogger(__name__).warning("this process serves no metrics of its own", exc_info=True)
