"""Is a worker getting on? Judged by what it does, not by whether its process is there.

Celery on Redis was seen to stay alive and deaf after a reconnection: the lists full, the worker idle, for ever. A
thread beside it looks every few seconds whether work waits, and whether any has been begun since it last looked. A
worker that stands still ends itself, with its children, and whoever keeps it alive starts it anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from celery.worker import state

from fractureai.errors import TransientFailure
from fractureai.tasks.pulse import beat
from fractureai.tasks.queue import CeleryQueue

_LOG = logging.getLogger(__name__)

_FIRST_BEAT_S = 0.2

STOOD_STILL = 75
"""The exit code of a worker that ended itself; ``EX_TEMPFAIL``: start it again."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a worker looks like at one moment.

    Attributes
    ----------
    begun:
        Tasks begun since the start.
    held:
        Messages taken from the queue and not done.
    waiting:
        Messages in the lists this worker serves; ``None`` if the queue is away, when nobody can get on.
    """

    begun: int
    held: int
    waiting: int | None


class Judge:
    """Says from one look after another whether a worker stands still.

    Parameters
    ----------
    idle_s:
        How long work may wait for a worker that holds nothing.
    busy_s:
        How long a worker may hold what it has taken: longer than any task may run.
    """

    def __init__(self, *, idle_s: float, busy_s: float) -> None:
        self._idle_s = idle_s
        self._busy_s = busy_s
        self._begun = -1
        self._since_s: float | None = None

    def stands_still(self, sight: Sight, now_s: float) -> bool:
        """Whether it is time to start anew."""
        nothing_to_do = sight.held == 0 and sight.waiting == 0
        if sight.begun != self._begun or nothing_to_do or sight.waiting is None:
            self._begun = sight.begun
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s >= (self._busy_s if sight.held else self._idle_s)


def look(app: Celery, queues: Sequence[str]) -> Sight:
    """The worker of this process."""
    try:
        waiting: int | None = sum(CeleryQueue(app).waiting(queues).values())
    except TransientFailure:
        waiting = None
    return Sight(sum(state.total_count.values()), len(state.reserved_requests), waiting)


def watch(
    look: Callable[[], Sight],
    judge: Judge,
    *,
    every_s: float,
    pulse: Path | None = None,
    ready: Callable[[], bool] = lambda: True,
) -> threading.Thread:
    """Look again and again in a thread of its own; end the process when it stands still.

    Parameters
    ----------
    pulse:
        The heartbeat, written at every look.
    ready:
        Whether the worker can do its work yet; before, there is no heartbeat.
    """

    def keep_looking() -> None:
        while True:
            if pulse is not None and ready():
                beat(pulse)
            # A service that starts waits for the first beat.
            time.sleep(every_s if ready() else min(every_s, _FIRST_BEAT_S))
            if judge.stands_still(look(), time.monotonic()):
                _LOG.critical("this worker is stalled while work waits for it; it ends, to be restarted")
                end_family()

    thread = threading.Thread(target=keep_looking, name="watchdog", daemon=True)
    thread.start()
    return thread


def end_at_the_latest(seconds: float) -> None:
    """From now on this process has so long to end by itself: with the queue away, Celery was seen never to."""

    def insist() -> None:
        time.sleep(seconds)
        _LOG.critical("this worker was told to end and does not; it is ended")
        end_family()

    threading.Thread(target=insist, name="last resort", daemon=True).start()


def end_family(code: int = STOOD_STILL) -> None:
    """End this process and its children at once; what they held is taken up by others when its lease is over."""
    me = os.getpid()
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
    os._exit(code)
