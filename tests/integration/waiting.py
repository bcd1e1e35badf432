"""Waiting for something to become true, with a bound and without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], *, timeout_s: float = 60.0, every_s: float = 0.1) -> T:
    """The first truthy answer of ``condition``; fails the test if none comes in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still not so after {timeout_s:.0f} s"
        time.sleep(every_s)
