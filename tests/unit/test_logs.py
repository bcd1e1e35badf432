"""Logs: one line an event, whatever a message holds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from fractureai.logs import JsonFormatter, TextFormatter


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("fractureai.test", logging.WARNING, __file__, 1, "%s", (message,), None)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_line_break_in_a_message_cannot_forge_a_line(formatter: logging.Formatter) -> None:
    line = formatter.format(_record("study x\n2026-01-01 INFO all is well\r"))
    assert "\n" not in line
    assert "\r" not in line


def test_json_lines_are_json() -> None:
    entry = json.loads(JsonFormatter().format(_record("study x: Ä")))
    assert entry["message"] == "study x: Ä"
    assert entry["level"] == "WARNING"


_READS_A_HEADER = """
from fractureai.logs import configure_logging
configure_logging()
from io import BytesIO
from fractureai.dicom.headers import NotUnderstood, belonging
try:
    belonging(BytesIO(b"\\x08\\0\\x18\\0UI\\x0c\\0Xanthippeus\\0"), "1.2.840.10008.1.2.1", is_whole=True)
except NotUnderstood as error:
    print(error)
"""


def test_a_value_of_a_header_that_is_not_valid_is_not_quoted() -> None:
    """pydicom warns of it, by its logger and by ``warnings``."""
    done = subprocess.run([sys.executable, "-c", _READS_A_HEADER], capture_output=True, text=True, timeout=60)
    assert done.stdout == "no valid SOPClassUID\n"
    assert done.stderr == ""
