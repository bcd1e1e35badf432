"""The state of a whole installation at one moment: what runs, what waits, what is broken."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fractureai.bootstrap import ROLES, Deployment
from fractureai.domain import keys
from fractureai.domain.ports import QueueDepths
from fractureai.domain.records import DeliveryState, OpenWork, SeenProcess, StudyFilter, StudyRow
from fractureai.domain.study import WorkState
from fractureai.errors import AWAY, BrokenDeployment, TransientFailure

FRESH_S = 45.0
"""A process is alive if its last heartbeat is not older; one is written every ten seconds."""

_DAY_S = 86400.0
_NO_BATCH = "0" * 32
_MOST_DELIVERIES = 1000
_MOST_FAILURES = 5
_DEGRADED = 1
_NEEDED = ("queue", "ledger", "store")
_ALTERNATIVES = {"delivery": "intake"}
"""Roles whose queues another role serves, too."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A study that failed lately. Its label may name the patient, and is not here."""

    site: str
    study_id: str
    failed_at_s: float
    reasons: tuple[str, ...]


@dataclass
class Status:
    """What was found.

    Attributes
    ----------
    parts:
        By name (queue, ledger, store, models): ``ok``, or what is wrong.
    away:
        Parts that do not answer.
    depths, work:
        ``None`` if queue or ledger is away.
    deliveries_waiting, deliveries_failed:
        Results on their way to receivers; those that failed for good and are only retried by hand.
    """

    at_s: float
    parts: dict[str, str] = field(default_factory=dict)
    away: list[str] = field(default_factory=list)
    processes: list[SeenProcess] = field(default_factory=list)
    depths: QueueDepths | None = None
    work: list[OpenWork] | None = None
    deliveries_waiting: int = 0
    deliveries_failed: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What needs attention, one sentence each."""
        found = [f"{name}: {state}" for name, state in self.parts.items() if state != "ok"]
        found += [
            f"{each.name} has been silent for {each.age_s:.0f} s." for each in self.processes if each.age_s > FRESH_S
        ]
        if "queue" not in self.away:
            found += [f"No process of the role {role} is alive." for role in self._missing_roles()]
        if self.deliveries_failed:
            found.append(f"{self.deliveries_failed} deliveries failed for good. Retry them on the page Deliveries.")
        if self.failures:
            found.append("Studies failed in the last day. Mend the cause, then retry them on their pages.")
        return found

    @property
    def exit_code(self) -> int:
        """0 all well, 1 degraded, 4 a part is away."""
        if self.away:
            return AWAY
        return _DEGRADED if self.problems else 0

    def to_json(self) -> dict[str, Any]:
        """For machines; times in seconds since the epoch."""
        return {
            "status": {0: "ok", _DEGRADED: "degraded"}.get(self.exit_code, "away"),
            "at_s": self.at_s,
            "parts": self.parts,
            "problems": self.problems,
            "processes": [
                {**dataclasses.asdict(each), "state": "ok" if each.age_s <= FRESH_S else "silent"}
                for each in self.processes
            ],
            "queues": dict(self.depths.waiting) if self.depths else None,
            "unacknowledged": self.depths.unacknowledged if self.depths else None,
            "stages": None if self.work is None else [self._stage(each) for each in self.work],
            "deliveries": {"waiting": self.deliveries_waiting, "failed": self.deliveries_failed},
            "failures": [dataclasses.asdict(each) for each in self.failures],
        }

    def oldest_s(self, work: OpenWork) -> float:
        """How long the study that waits longest at a stage has waited; 0 if none does."""
        return 0.0 if work.waiting_since_s is None else max(0.0, self.at_s - work.waiting_since_s)

    def _stage(self, work: OpenWork) -> dict[str, Any]:
        return {
            "stage": work.stage.value, "open": work.open_studies, "in_work": work.leased,
            "oldest_waiting_s": round(self.oldest_s(work), 1),
        }  # fmt: skip

    def _missing_roles(self) -> list[str]:
        alive = {each.role for each in self.processes if each.age_s <= FRESH_S}
        return [
            role for role in ("web", *ROLES, "scheduler") if role not in alive and _ALTERNATIVES.get(role) not in alive
        ]


def look(built: Deployment) -> Status:
    """Ask every part of an installation; what does not answer is noted, and raises nothing."""
    status = Status(time.time())
    with _asking(status, "queue"):
        if not built.settings.queue.url:
            raise BrokenDeployment(f"No service runs in {built.settings.data_dir}, and no queue is set.")
        status.depths = built.queue.depths()
        status.processes = built.heartbeats.seen()
    with _asking(status, "ledger"):
        # A glance makes no folder and no tables.
        if not built.settings.ledger.url and not built.settings.ledger_file.is_file():
            raise BrokenDeployment(f"There is no ledger in {built.settings.data_dir}.")
        _ask_ledger(status, built)
    with _asking(status, "store"):
        if built.settings.store.kind == "local" and not built.settings.store_path.is_dir():
            raise BrokenDeployment(f"There is no folder {built.settings.store_path}.")
        built.bare_store.size_bytes(keys.batch_json(built.settings.site, _NO_BATCH))
    with _asking(status, "models"):
        built.models.check()
    return status


@contextlib.contextmanager
def _asking(status: Status, part: str) -> Iterator[None]:
    status.parts[part] = "ok"
    try:
        yield
    except TransientFailure as failure:
        status.parts[part] = f"does not answer ({failure.detail or failure.code})."
        status.away.append(part)
    except BrokenDeployment as error:
        status.parts[part] = str(error)
        if part in _NEEDED:
            status.away.append(part)


def _ask_ledger(status: Status, built: Deployment) -> None:
    status.work = built.ledger.open_work(now_s=status.at_s)
    for site in built.sites:
        deliveries = built.ledger.undelivered(site=site, limit=_MOST_DELIVERIES)
        failed = sum(each.state is DeliveryState.GIVEN_UP for each in deliveries)
        status.deliveries_failed += failed
        status.deliveries_waiting += len(deliveries) - failed
        rows = built.ledger.studies(site=site, which=StudyFilter(state=WorkState.FAILED), limit=_MOST_FAILURES).rows
        status.failures += [_failure_of(row) for row in rows if status.at_s - (row.finished_at_s or 0.0) < _DAY_S]
    status.failures.sort(key=lambda each: each.failed_at_s, reverse=True)
    del status.failures[_MOST_FAILURES:]


def _failure_of(row: StudyRow) -> Failure:
    reasons = tuple(reason.sentence for reason in row.reasons)
    return Failure(row.site, row.study_id, row.finished_at_s or 0.0, reasons)
