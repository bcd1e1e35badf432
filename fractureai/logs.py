"""Logs carry ids, never the patient: the study's, the batch's, the request's (``fractureai.tracing``)."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

from fractureai import tracing

# What Celery says of each task twice, the stages say once, and with the attempt.
_CHATTY = (
    "celery.redirected",
    "celery.worker.strategy",
    "celery.app.trace",
    "kombu",
    "botocore",
    "urllib3",
    "PIL",
    "alembic",
    "httpx",
)
# These quote values of headers, which may be a patient's, and set their own level when they are imported.
_INDISCREET = {"pydicom", "pynetdicom"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; line breaks in a message are escaped by the encoding.

    Beside ``at``, ``level``, ``logger`` and ``message`` a line has those of ``request_id``, ``batch_id``,
    ``study_id``, ``stage`` and ``attempt`` that are known where it is written.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record."""
        entry: dict[str, object] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **ids_of(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people; line breaks in a message are shown, not obeyed, so that nobody can forge a line.

    Ids that the message does not say follow it.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's own name
        """Escape line breaks, then format."""
        said = record.message.replace("\r", "\\r").replace("\n", "\\n")
        more = [f"{name}={value}" for name, value in ids_of(record).items() if str(value) not in said]
        record.message = f"{said} [{' '.join(more)}]" if more else said
        return super().formatMessage(record)


def ids_of(record: logging.LogRecord) -> dict[str, object]:
    """The ids of a line: said with it (``extra=``), or bound where it is written."""
    bound = tracing.current()
    found = {name: getattr(record, name, bound.get(name)) for name in tracing.FIELDS}
    return {name: value for name, value in found.items() if value not in (None, "")}


def configure_logging(*, style: str = "text", level: str = "INFO") -> None:
    """Send everything to standard error in one format, and nothing that quotes what it reads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    handler.addFilter(lambda record: record.name.partition(".")[0] not in _INDISCREET)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # What readers of foreign files say by this way quotes them, too, and knows no format.
    warnings.simplefilter("ignore", UserWarning)
