"""The frame every stage runs in: lease, work, advance; and what becomes of each kind of error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from fractureai import tracing
from fractureai.domain import keys
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Stage
from fractureai.errors import TransientFailure
from fractureai.stages.artifacts import write_json
from fractureai.stages.attempts import Again, GiveUp, after, exhausted, insist, kept
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Closed:
    """A stage's word that the study is final."""

    result: StudyResult


Work = Callable[[Claim, StagePorts], Closed | None]


def run_stage(stage: Stage, study_id: str, ports: StagePorts, work: Work) -> str:
    """Do one stage of one study, at most once at a time and as often as it takes.

    ``work`` reads and writes artifacts; it may run twice, with the same result. ``None`` from it means: on to the
    next stage. Returns a word for the log: ``not_due``, ``done``, ``retry``, ``failed`` or ``lost``.
    """
    claim = insist(lambda: _claim(stage, study_id, ports), ports)
    if claim is None:
        return "not_due"
    with tracing.bound(study_id=study_id, batch_id=claim.study.batch_id, stage=stage.value, attempt=claim.attempt):
        result = _run(claim, ports, work)
        _LOG.info("stage %s: %s", stage, result)
    return result


def _claim(stage: Stage, study_id: str, ports: StagePorts) -> Claim | None:
    now = ports.clock()
    return ports.ledger.claim(study_id, stage, owner=ports.new_id(), now_s=now, lease_s=ports.policy.lease_s)


def _run(claim: Claim, ports: StagePorts, work: Work) -> str:
    where = f"stage {claim.stage}"
    if claim.attempt > ports.policy.max_attempts:
        return _give_up(claim, ports, (exhausted(where),))
    try:
        with kept(lambda until_s: ports.ledger.renew(claim, until_s=until_s), ports, longest_s=ports.policy.longest_s):
            closed = work(claim, ports)
            moved = _finish(claim, ports, closed.result) if closed else _advance(claim, ports)
    except (Exception, MemoryError) as error:  # one study's trouble must never end the worker
        if not isinstance(error, TransientFailure):
            _LOG.exception("study %s: %s: attempt %d failed", claim.study.study_id, where, claim.attempt)
        next_step = after(error, claim, claim.study.study_id, where=where, now_s=ports.clock(), policy=ports.policy)
        if isinstance(next_step, GiveUp):
            return _give_up(claim, ports, next_step.reasons)
        return _again(claim, ports, next_step)
    return "done" if moved else "lost"


def _advance(claim: Claim, ports: StagePorts) -> bool:
    now = ports.clock()
    return insist(lambda: ports.ledger.advance(claim, now_s=now, due_at_s=now + ports.policy.patience_s), ports)


def _again(claim: Claim, ports: StagePorts, again: Again) -> str:
    now = ports.clock()
    _LOG.warning(
        "study %s: stage %s: %s; again in %.0f s",
        claim.study.study_id,
        claim.stage,
        again.reason.code,
        again.due_at_s - now,
    )
    insist(
        lambda: ports.ledger.retry(claim, again.reason, now_s=now, due_at_s=again.due_at_s, counts=again.counts),
        ports,
    )
    return "retry"


def _give_up(claim: Claim, ports: StagePorts, reasons: tuple[Reason, ...]) -> str:
    study = claim.study
    result = StudyResult.failed(study, reasons, ports.software_version)
    _LOG.error("study %s: given up at stage %s: %s", study.study_id, claim.stage, reasons[-1])
    return "failed" if _finish(claim, ports, result) else "lost"


def _finish(claim: Claim, ports: StagePorts, result: StudyResult) -> bool:
    """Write the result and close the study, unless somebody else has it by now.

    The lease is renewed first: whoever lost it while the work took its time must not write over the result of the one
    who has it.
    """
    if not insist(lambda: ports.ledger.renew(claim, until_s=ports.clock() + ports.policy.lease_s), ports):
        return False
    study = claim.study
    write_json(ports.store, keys.result_json(study.site, study.study_id), result.to_json())
    return insist(
        lambda: ports.ledger.finish(
            claim,
            result.state,
            now_s=ports.clock(),
            assessment=result.finding.assessment,
            region=result.region,
            max_fracture_probability=result.max_fracture_probability,
            reasons=result.finding.reasons,
        ),
        ports,
    )
