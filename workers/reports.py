"""The reports worker: explain and report. Start it with ``fractureai worker --role reports``."""

from __future__ import annotations

from workers.start import celery_app

app = celery_app("reports")
