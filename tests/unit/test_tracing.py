"""Ids that logs carry: bound where work begins, gone when it ends, and never anything but ids."""

from __future__ import annotations

import json
import logging

import pytest

from fractureai import tracing
from fractureai.logs import JsonFormatter, TextFormatter


def _record(message: str, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("fractureai.test", logging.INFO, __file__, 1, message, (), None)
    vars(record).update(extra)
    return record


def test_a_line_has_what_is_bound_and_what_is_said_with_it() -> None:
    with tracing.bound(request_id="ward-0815", study_id="a" * 32), tracing.bound(stage="detect", attempt=2):
        entry = json.loads(JsonFormatter().format(_record("done", batch_id="b" * 32, attempt=3)))
        text = TextFormatter().format(_record(f"study {'a' * 32}: done"))
    wanted = {"request_id": "ward-0815", "study_id": "a" * 32, "stage": "detect", "attempt": 3, "batch_id": "b" * 32}
    assert wanted.items() <= entry.items()
    assert text.endswith("[request_id=ward-0815 stage=detect attempt=2]")
    assert not tracing.current()
    assert "study_id" not in json.loads(JsonFormatter().format(_record("nothing bound")))


def test_a_thread_that_begins_anew_forgets_the_last() -> None:
    with tracing.bound(study_id="a" * 32):
        token = tracing.bind_only(request_id="ward-0815")
        assert dict(tracing.current()) == {"request_id": "ward-0815"}
        tracing.unbind(token)
        assert dict(tracing.current()) == {"study_id": "a" * 32}


def test_only_ids_may_be_bound() -> None:
    with pytest.raises(ValueError, match="nothing else"), tracing.bound(patient="KOWALSKI^JAN"):
        pass
