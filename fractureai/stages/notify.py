"""notify: whoever asked for it is told that a study is final. Id, state, assessment and where to look; nothing else.

No patient data leaves this way: the label, which may name somebody, stays here, and the receiver fetches what it needs
under its own rights. A delivery may come twice (its id tells), never not at all while attempts are left.
"""

from __future__ import annotations

import json
import logging

from fractureai.domain.records import Delivery, StudyRow
from fractureai.errors import TransientFailure
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_LEASE_S = 60.0
_LONGEST_WAIT_S = 6 * 3600.0

LINKS = {
    "status": "/api/v1/studies/{study_id}",
    "result": "/api/v1/studies/{study_id}/result.json",
    "report": "/api/v1/studies/{study_id}/report.pdf",
    "page": "/studies/{study_id}",
}
"""Addresses of a study. The web has them as routes; a test holds the two together."""


def run(delivery_id: str, ports: StagePorts) -> str:
    """Deliver one message. Returns ``not_due``, ``done``, ``retry`` or ``failed``."""
    delivery = ports.ledger.claim_delivery(delivery_id, now_s=ports.clock(), lease_s=_LEASE_S)
    if delivery is None:
        return "not_due"
    row = ports.ledger.study(delivery.study_id, site=delivery.site)
    if row is None:
        ports.ledger.give_up_delivery(delivery, "the study is gone", now_s=ports.clock())
        return "failed"
    try:
        ports.notifier.notify(delivery_id, message(row, ports.policy.public_base_url))
    except TransientFailure as failure:
        return _again(delivery, failure.detail, ports)
    except Exception as error:  # one delivery's trouble must never end the worker
        _LOG.exception("delivery %s failed", delivery_id)
        return _again(delivery, type(error).__name__, ports)
    ports.ledger.delivered(delivery, now_s=ports.clock())
    return "done"


def message(row: StudyRow, base_url: str) -> bytes:
    """What is posted: canonical JSON, the same for the same study."""
    body = {
        "study_id": row.study_id,
        "state": row.state.value,
        "assessment": row.assessment.value if row.assessment else None,
        "links": {name: base_url + path.format(study_id=row.study_id) for name, path in LINKS.items()},
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _again(delivery: Delivery, error: str, ports: StagePorts) -> str:
    now = ports.clock()
    if delivery.attempts >= ports.policy.delivery_attempts:
        _LOG.error("delivery %s: given up: %s", delivery.delivery_id, error)
        ports.ledger.give_up_delivery(delivery, error, now_s=now)
        return "failed"
    wait = min(ports.policy.delivery_backoff_s * 2 ** (delivery.attempts - 1), _LONGEST_WAIT_S)
    _LOG.warning("delivery %s: %s; again in %.0f s", delivery.delivery_id, error, wait)
    ports.ledger.postpone_delivery(delivery, error, due_at_s=now + wait)
    return "retry"
