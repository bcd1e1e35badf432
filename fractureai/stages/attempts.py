"""Attempts, for stages and the intake alike: how a lease is kept, what a failure leads to, and when it is given up.

Two counts are kept apart. An *attempt* is counted before the work and stays counted if the worker dies in it, or if the
work itself fails: three, and the study is given up. A *setback* is an attempt that ended because something outside was
away: it is no fault of the study's, so it waits, longer each time, and is given up only after a day of it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fractureai.domain.reasons import OUTAGES, Reason
from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.stages.ports import StagePorts, WorkPolicy

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0

T = TypeVar("T")


class Held(Protocol):
    """What is known of an attempt: a claim on a study or on a batch."""

    @property
    def attempt(self) -> int: ...
    @property
    def setbacks(self) -> int: ...
    @property
    def troubled_since_s(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Again:
    """Give the lease back until ``due_at_s``; ``counts``: whether it was one of the attempts."""

    reason: Reason
    due_at_s: float
    counts: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End it as failed."""

    reasons: tuple[Reason, ...]


def after(
    error: BaseException, held: Held, subject_id: str, *, where: str, now_s: float, policy: WorkPolicy
) -> Again | GiveUp:
    """What a failure leads to.

    Parameters
    ----------
    subject_id:
        Id of the study or batch; it spreads the waits, so that what failed together does not come back together.
    where:
        The stage, for the reason.
    """
    if isinstance(error, BrokenDeployment):
        # No further attempt can mend it, but an operator can; then a person has it tried again.
        return GiveUp((Reason("broken_deployment"),))
    if isinstance(error, TransientFailure):
        reason = Reason(error.code, error.detail)
        if error.code in OUTAGES:
            return _put_off(reason, held, subject_id, now_s, policy)
    else:
        reason = Reason("internal_error", type(error).__name__)
    if held.attempt >= policy.max_attempts:
        return GiveUp((exhausted(where), reason))
    return Again(reason, now_s + _wait_s(held.attempt - 1, subject_id, policy), counts=True)


def exhausted(where: str) -> Reason:
    """Why something that killed its workers is not tried again."""
    return Reason("attempts_exhausted", where)


def _put_off(reason: Reason, held: Held, subject_id: str, now_s: float, policy: WorkPolicy) -> Again | GiveUp:
    since_s = now_s if held.troubled_since_s is None else held.troubled_since_s
    if now_s - since_s >= policy.outage_s:
        return GiveUp((Reason("outage_too_long"), reason))
    return Again(reason, now_s + _wait_s(held.setbacks, subject_id, policy), counts=False)


def _wait_s(failures_before: int, subject_id: str, policy: WorkPolicy) -> float:
    """Doubled for every failure, up to a bound, and up to half of it more, by the id."""
    wait_s = min(policy.backoff_s * 2.0 ** min(failures_before, 30), policy.longest_wait_s)
    return wait_s * (1.0 + int(subject_id[:4], 16) / 0x20000)


def insist(act: Callable[[], T], ports: StagePorts) -> T:
    """Do it, and go on trying for a while if the ledger is away: a short outage costs nobody an attempt."""
    deadline_s = time.monotonic() + ports.policy.insist_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return act()
        except TransientFailure as failure:
            if failure.code != "ledger_unavailable" or time.monotonic() + pause_s > deadline_s:
                raise
            _LOG.warning("%s; trying again", failure)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


@contextlib.contextmanager
def kept(renew: Callable[[float], bool], ports: StagePorts, *, longest_s: float) -> Iterator[None]:
    """Renew a lease in a thread while the block runs, but no longer than ``longest_s``: work that hangs loses it.

    So the lease itself can be short, and what a dead worker held is taken up in seconds.
    """
    done = threading.Event()

    def keep() -> None:
        deadline_s = time.monotonic() + longest_s
        while not done.wait(ports.policy.lease_s / 3) and time.monotonic() < deadline_s:
            try:
                if not renew(ports.clock() + ports.policy.lease_s):
                    return
            except TransientFailure as failure:
                _LOG.warning("a lease could not be renewed: %s", failure)

    threading.Thread(target=keep, name="lease", daemon=True).start()
    try:
        yield
    finally:
        done.set()
