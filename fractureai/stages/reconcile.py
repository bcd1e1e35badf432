"""reconcile: what the queue lost is put there again. Asks the ledger for what is open, never for all that ever was."""

from __future__ import annotations

import logging

from fractureai.errors import TransientFailure
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_DELIVERY_AGAIN_S = 120.0
_ON_ITS_WAY_S = 5.0
"""How long a message that no list holds any more may need until its receiver has taken the lease."""
_BATCH = 500
"""Studies republished in one round: a bound on the work of a round, the next round takes the next ones."""


def run(ports: StagePorts) -> int:
    """Publish what is due; returns how many messages were sent.

    While the queue holds work, only studies are due whose time has come: a retry's wait is over, or nothing has moved
    for the policy's patience. While nothing waits in the queue, whatever is open, not leased and not sent within the
    last seconds is due: its message is lost, or lies with a worker that died before it took the lease.
    """
    now = ports.clock()
    try:
        idle = ports.queue.is_idle()
    except TransientFailure:
        return 0
    due_before = now + max(0.0, ports.policy.patience_s - _ON_ITS_WAY_S) if idle else now
    sent = 0
    again = now + ports.policy.patience_s
    try:
        for batch_id in ports.ledger.due_batches(now_s=now, due_before_s=due_before, limit=_BATCH):
            ports.queue.publish_batch(batch_id)
            ports.ledger.published_batch(batch_id, now_s=now, due_again_at_s=again)
            sent += 1
        due = ports.ledger.due_studies(now_s=now, due_before_s=due_before, limit=_BATCH)
        for entry in due:
            ports.queue.publish_study(entry.study_id, entry.stage)
            sent += 1
        if due:
            ports.ledger.published([entry.study_id for entry in due], now_s=now, due_again_at_s=again)
        sent += _deliveries(ports, now)
    except TransientFailure as failure:
        _LOG.warning("reconciling stopped: %s", failure)
    if sent:
        _LOG.info("published %d again", sent)
    return sent


def _deliveries(ports: StagePorts, now_s: float) -> int:
    """The news of finished studies goes out this way only: a few seconds late, but never before it is recorded."""
    due = ports.ledger.due_deliveries(now_s=now_s, limit=_BATCH)
    for delivery_id in due:
        ports.queue.publish_delivery(delivery_id)
    ports.ledger.published_deliveries(due, due_again_at_s=now_s + _DELIVERY_AGAIN_S)
    return len(due)
