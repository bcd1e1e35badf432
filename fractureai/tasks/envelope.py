"""What every message says of itself: when it was sent."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from celery.signals import before_task_publish

SENT_HEADER = "fractureai_sent_s"


def stamp_messages() -> None:
    """From here on, every message this process publishes, links of chains too, says when it was sent."""
    before_task_publish.connect(_stamp, weak=False, dispatch_uid="fractureai.sent")


def _stamp(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[SENT_HEADER] = time.time()


def sent_at_s(message: bytes) -> float:
    """When a message was sent, in seconds since the epoch; ``-inf`` if it does not say so."""
    try:
        stamp = float(json.loads(message)["headers"][SENT_HEADER])
    except (ValueError, KeyError, TypeError, RecursionError):
        return -math.inf
    return stamp if math.isfinite(stamp) else -math.inf
