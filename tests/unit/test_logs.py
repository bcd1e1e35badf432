"""Logs: one line an event, whatever a message holds."""

from __future__ import annotations

import json
import logging

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
