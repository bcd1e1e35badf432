"""The scheduler: feeds the queue, republishes what it has lost, and tidies up.

Any number may run; one leads, by a lease in the ledger, and another takes over when it stops or dies.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time

from fractureai import upkeep
from fractureai.bootstrap import Deployment
from fractureai.errors import TransientFailure
from fractureai.metrics.exporter import Exporter
from fractureai.metrics.processes import Pulse
from fractureai.processes.start import deployment, keep_beating, process_name
from fractureai.stages import examinations, reconcile, tidy
from fractureai.tasks.pulse import beat

_LOG = logging.getLogger(__name__)

_NAME = "scheduler"
_TIDY_EVERY_S = 300.0
_AUDIT_EVERY_S = 15.0
_RETAIN_EVERY_S = 3600.0
# Of a site, so that a first run over years does not hold up the audit.
_RETAIN_MOST = 500
_MEND_EVERY_S = 60.0
_CLOCK_STEP_S = 5.0
# A round that has begun no other for so long hangs; one that waits for a dead store or queue ends by itself before.
_SILENT_ROUNDS = 3
_SILENT_S = 300.0


def run() -> None:
    """Lead, or wait to lead, until told to stop."""
    built = deployment(_NAME)
    watched, work = built.settings.metrics, built.settings.work
    pulse = Pulse(_SILENT_ROUNDS * work.reconcile_every_s + _SILENT_S)
    if watched.port:
        Exporter(watched.host, watched.port, built.registry, alive={"rounds": pulse})
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    leader = Leader(built, f"{socket.gethostname()} {os.getpid()} {built.new_id()[:8]}")
    # By itself: deleting thousands of files must not hold up the queue.
    tidying = threading.Thread(target=_tidy, args=(built, leader, stop), name="tidy", daemon=True)
    tidying.start()
    threading.Thread(target=_keep_audit, args=(built, leader, stop), name="audit", daemon=True).start()
    keep_beating(built, process_name(_NAME), _NAME, lambda: pulse() == "ok")
    rounds = Rounds(built)
    while not stop.wait(work.reconcile_every_s):
        pulse.beat()
        if work.pulse_dir:
            beat(work.pulse_dir / _NAME)
        try:
            if leader.leads():
                rounds.run()
        except TransientFailure as failure:
            _LOG.warning("this round is skipped: %s", failure)
        except Exception:  # the scheduler must go on; the next round may succeed
            _LOG.exception("this round failed")
    leader.resign()


class Leader:
    """Whether this scheduler leads, asked anew at every round."""

    def __init__(self, built: Deployment, owner: str) -> None:
        self._built = built
        self._owner = owner
        self._lease_s = max(built.settings.work.leader_lease_s, 3 * built.settings.work.reconcile_every_s)
        self.led = threading.Event()

    def leads(self) -> bool:
        """Take or keep the lead."""
        try:
            leads = self._built.ledger.lead(_NAME, self._owner, now_s=self._built.clock(), lease_s=self._lease_s)
        except TransientFailure:
            self.led.clear()
            raise
        if leads != self.led.is_set():
            _LOG.info("this scheduler %s", "leads" if leads else "waits to lead")
        if leads:
            self.led.set()
        else:
            self.led.clear()
        return leads

    def resign(self) -> None:
        """Let another one take over at once."""
        try:
            self._built.ledger.resign(_NAME, self._owner)
        except TransientFailure as failure:
            _LOG.warning("the lead ends by itself: %s", failure)


class Rounds:
    """What the leader does, round by round."""

    def __init__(self, built: Deployment) -> None:
        self._built = built
        self._mend_at_s = 0.0
        self._offset_s = time.time() - time.monotonic()

    def run(self) -> None:
        """One round."""
        set_back = self._clock_was_set_back()
        if set_back or time.monotonic() >= self._mend_at_s:
            reconcile.mend_times(self._built, set_back=set_back)
            self._mend_at_s = time.monotonic() + _MEND_EVERY_S
        examinations.run(self._built)
        reconcile.run(self._built)

    def _clock_was_set_back(self) -> bool:
        offset_s = time.time() - time.monotonic()
        set_back = self._offset_s - offset_s > _CLOCK_STEP_S
        self._offset_s = offset_s
        return set_back


def _tidy(built: Deployment, leader: Leader, stop: threading.Event) -> None:
    while not stop.is_set():
        if leader.led.wait(1.0):
            try:
                tidy.run(built)
                examinations.tidy(built)
                examinations.sweep(built.sites, built)
            except TransientFailure as failure:
                _LOG.warning("tidying is skipped: %s", failure)
            except Exception:  # the next time it may succeed
                _LOG.exception("tidying failed")
            stop.wait(_TIDY_EVERY_S)


def _keep_audit(built: Deployment, leader: Leader, stop: threading.Event) -> None:
    """Delete what was kept long enough, seal the audit and hand it on, forget sign-ins that are over.

    By itself: a receiver that is away holds up nothing else.
    """
    seal_at_s = retain_at_s = 0.0
    while not stop.is_set():
        if leader.led.wait(1.0):
            try:
                if time.monotonic() >= retain_at_s:
                    retain_at_s = time.monotonic() + _RETAIN_EVERY_S
                    upkeep.run_retention(built, most=_RETAIN_MOST)
                if time.monotonic() >= seal_at_s:
                    seal_at_s = time.monotonic() + _TIDY_EVERY_S
                    upkeep.seal_audit(built)
                    upkeep.forget_sign_ins(built)
                upkeep.forward_audit(built)
            except TransientFailure as failure:
                _LOG.warning("the audit waits: %s", failure)
            except Exception:  # the next time it may succeed
                _LOG.exception("the audit was not handed on")
            stop.wait(_AUDIT_EVERY_S)
