"""The delivery worker: tells others of finished studies. Start it with ``fractureai worker --role delivery``."""

from __future__ import annotations

from workers.start import celery_app

app = celery_app("delivery")
