"""The inference worker: classify and detect. Start it with ``fractureai worker --role inference``."""

from __future__ import annotations

from workers.start import celery_app

app = celery_app("inference")
