"""The web process, for a WSGI server: ``gunicorn workers.web:app``."""

from __future__ import annotations

from workers.start import deployment

app = deployment().web()
