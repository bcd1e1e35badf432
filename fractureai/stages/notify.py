"""notify: whoever asked for it is told that a study is final. Id, state, assessment and where to look; nothing else.

No patient data leaves this way: the label, which may name somebody, stays here, and the receiver fetches what it needs
under its own rights. A delivery may come twice (its id tells), never not at all while attempts are left.
"""

from __future__ import annotations

import json

from fractureai.domain.reasons import WARNINGS
from fractureai.domain.records import Delivery, StudyRow
from fractureai.stages.ports import StagePorts

LINKS = {
    "status": "/api/v1/studies/{study_id}",
    "result": "/api/v1/studies/{study_id}/result.json",
    "report": "/api/v1/studies/{study_id}/report.pdf",
    "page": "/studies/{study_id}",
}
"""Addresses of a study. The web has them as routes; a test holds the two together."""


def deliver(delivery: Delivery, row: StudyRow, ports: StagePorts) -> None:
    """Deliver one message. Raises ``TransientFailure`` unless it was taken."""
    ports.notifier.notify(delivery.delivery_id, message(row, ports.policy.public_base_url))


def message(row: StudyRow, base_url: str) -> bytes:
    """What is posted: canonical JSON, the same for the same study."""
    body = {
        "study_id": row.study_id,
        "state": row.state.value,
        "assessment": row.assessment.value if row.assessment else None,
        "warnings": [reason.code for reason in row.reasons if reason.code in WARNINGS],
        "links": {name: base_url + path.format(study_id=row.study_id) for name, path in LINKS.items()},
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
