"""Long-polling: an answer that waits for news, for as long as there is room to wait.

A request that waits holds a thread. So that the others always find one, only some may wait at a time; whoever comes
when all places are taken is answered at once, with ``Retry-After``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fractureai.web.context import web

News = TypeVar("News")

# The first look again is soon, for work that is nearly done; a waiter then costs one small query a second.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0


def wait_for(look: Callable[[], News], is_news: Callable[[News], bool], *, wait_s: float) -> News:
    """What ``look`` gives as soon as it is news, or what it gives at the end.

    Parameters
    ----------
    wait_s:
        How long to wait at most; 0 looks once.
    """
    found = look()
    if wait_s <= 0 or is_news(found):
        return found
    with _place(web().waiters) as is_free:
        if not is_free:
            return found
        end, pause = time.monotonic() + wait_s, _FIRST_PAUSE_S
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            found = look()
            if is_news(found):
                break
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
    return found


@contextmanager
def _place(waiters: threading.BoundedSemaphore) -> Iterator[bool]:
    is_free = waiters.acquire(blocking=False)
    try:
        yield is_free
    finally:
        if is_free:
            waiters.release()
