"""The intake worker: unpack batches into studies. Start it with ``fractureai worker --role intake``."""

from __future__ import annotations

from workers.start import celery_app

app = celery_app("intake")
