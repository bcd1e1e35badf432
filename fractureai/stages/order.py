"""Who goes first: a walk-in before the night's bulk."""

from __future__ import annotations

from fractureai.domain.records import Priority
from fractureai.stages.ports import WorkPolicy


def priority_of(count: int, policy: WorkPolicy) -> Priority:
    """Of a batch with so many studies, or, before they are known, uploads."""
    return Priority.WALK_IN if count <= policy.walk_in_studies else Priority.BULK
