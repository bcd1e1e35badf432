"""reconcile: the queue is fed from the ledger, and what the queue lost is put there again.

Walk-ins are published when they are accepted; bulk is published here only, in portions and in turn, so that the queue
stays short and the order of the ledger counts. Asks the ledger for what is open, never for all that ever was.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fractureai.domain.ports import QueueLine
from fractureai.domain.records import Due, Priority
from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.stages import deliver
from fractureai.stages.order import priority_of
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_DELIVERY_AGAIN_S = 120.0
_ON_ITS_WAY_S = 5.0
"""How long a message that no list holds any more may need until its receiver has taken the lease."""

_ROUND = 500
"""What one round publishes of a kind at most; the next round takes the next ones."""


def run(ports: StagePorts) -> int:
    """Publish what is due; returns how many messages were sent.

    A study is due when its time has come: it was never published, a retry's wait is over, or the lease of a worker that
    died. It is also due when its message is lost: it was sent before the one that is next in its list, or the list is
    empty, and nobody has leased it.
    """
    now = ports.clock()
    sent = 0
    try:
        line = ports.queue.line()
        sent += _batches(ports, line, now)
        sent += _studies(ports, line, now)
        sent += _deliveries(ports, now)
    except TransientFailure as failure:
        _LOG.warning("reconciling stopped: %s", failure)
    if sent:
        _LOG.info("published %d", sent)
    return sent


def mend_times(ports: StagePorts, *, set_back: bool = False) -> int:
    """Make due what waits longer than anything can, because a clock was set back; returns how many.

    ``set_back``: it was seen to be. Then no wait longer than a lease is believed: better sent twice than late.
    """
    policy, now = ports.policy, ports.clock()

    def beyond_s(*waits_s: float) -> float:
        return now + (1.5 * policy.lease_s if set_back else 1.1 * (max(waits_s) + 60.0))

    mended = ports.ledger.pull_forward(
        now_s=now, beyond_s=beyond_s(policy.patience_s, policy.lease_s, 1.5 * policy.longest_wait_s)
    )
    mended += ports.ledger.pull_deliveries_forward(
        now_s=now,
        beyond_s=beyond_s(_DELIVERY_AGAIN_S, policy.lease_s),
        put_off_beyond_s=beyond_s(1.1 * deliver.LONGEST_WAIT_S),
    )
    if mended:
        _LOG.warning("%d were put off beyond any wait; has a clock been set back?", mended)
    return mended


def _batches(ports: StagePorts, line: QueueLine, now_s: float) -> int:
    patience_s = ports.policy.patience_s
    due_before_s = now_s if line.batches else now_s + max(0.0, patience_s - _ON_ITS_WAY_S)
    due = ports.ledger.due_batches(now_s=now_s, due_before_s=due_before_s, limit=_ROUND)
    for batch in due:
        ports.queue.publish_batch(batch.batch_id, priority_of(batch.upload_count, ports.policy))
        ports.ledger.published_batch(batch.batch_id, now_s=now_s, due_again_at_s=now_s + patience_s)
    return len(due)


def _studies(ports: StagePorts, line: QueueLine, now_s: float) -> int:
    due = ports.ledger.lost_studies(now_s=now_s, due_before_s=_overdue_s(ports, line, now_s), limit=_ROUND)
    room = max(0, ports.policy.portion - line.waiting - len(due))
    for entry in ports.ledger.due_studies(now_s=now_s, limit=_ROUND):
        if entry.priority is Priority.BULK:
            if room == 0:
                break
            room -= 1
        due.append(entry)
    _publish(due, ports, now_s)
    return len(due)


def _overdue_s(ports: StagePorts, line: QueueLine, now_s: float) -> dict[tuple[Stage, Priority], float]:
    """Until when a study that was published must be due again for its message to be lost, by list."""
    return {
        (stage, priority): min(line.sent_s.get((stage, priority), now_s), now_s)
        - _ON_ITS_WAY_S
        + ports.policy.patience_s
        for stage in Stage
        for priority in Priority
    }


def _publish(due: Sequence[Due], ports: StagePorts, now_s: float) -> None:
    """What was sent before the queue went away is noted all the same."""
    told: list[str] = []
    try:
        for entry in due:
            ports.queue.publish_study(entry.study_id, entry.stage, entry.priority)
            told.append(entry.study_id)
    finally:
        ports.ledger.published(told, now_s=now_s, due_again_at_s=now_s + ports.policy.patience_s)


def _deliveries(ports: StagePorts, now_s: float) -> int:
    """The news of finished studies goes out this way only: a few seconds late, but never before it is recorded."""
    due = ports.ledger.due_deliveries(now_s=now_s, limit=_ROUND)
    for delivery_id in due:
        ports.queue.publish_delivery(delivery_id)
    ports.ledger.published_deliveries(due, now_s=now_s, due_again_at_s=now_s + _DELIVERY_AGAIN_S)
    return len(due)
