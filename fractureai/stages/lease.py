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
from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.stages.artifacts import write_json
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
    claim = ports.ledger.claim(study_id, stage, owner=ports.new_id(), now_s=ports.clock(), lease_s=ports.policy.lease_s)
    if claim is None:
        return "not_due"
    with tracing.bound(study_id=study_id, batch_id=claim.study.batch_id, stage=stage.value, attempt=claim.attempt):
        result = _run(claim, ports, work)
        _LOG.info("stage %s: %s", stage, result)
    return result


def _run(claim: Claim, ports: StagePorts, work: Work) -> str:
    study_id, stage = claim.study.study_id, claim.stage
    if claim.attempt > ports.policy.max_attempts:
        return _give_up(claim, ports, Reason("attempts_exhausted", f"stage {stage}"))
    try:
        closed = work(claim, ports)
    except TransientFailure as failure:
        return _again(claim, ports, Reason(failure.code, failure.detail))
    except BrokenDeployment:
        # No further attempt can mend it, but an operator can; then the study is retried by hand.
        _LOG.exception("study %s: stage %s: the installation is at fault", study_id, stage)
        return _give_up(claim, ports, Reason("broken_deployment"))
    except (Exception, MemoryError) as error:  # one study's trouble must never end the worker
        _LOG.exception("study %s: stage %s: attempt %d failed", study_id, stage, claim.attempt)
        return _again(claim, ports, Reason("internal_error", type(error).__name__))
    moved = _finish(claim, ports, closed.result) if closed else _advance(claim, ports)
    return "done" if moved else "lost"


def _advance(claim: Claim, ports: StagePorts) -> bool:
    now = ports.clock()
    return ports.ledger.advance(claim, now_s=now, due_at_s=now + ports.policy.patience_s)


def _again(claim: Claim, ports: StagePorts, reason: Reason) -> str:
    if claim.attempt >= ports.policy.max_attempts:
        return _give_up(claim, ports, reason)
    now = ports.clock()
    wait = ports.policy.backoff_s * 2 ** (claim.attempt - 1)
    _LOG.warning("study %s: stage %s: %s; again in %.0f s", claim.study.study_id, claim.stage, reason.code, wait)
    ports.ledger.retry(claim, reason, now_s=now, due_at_s=now + wait)
    return "retry"


def _give_up(claim: Claim, ports: StagePorts, reason: Reason) -> str:
    study = claim.study
    exhausted = (Reason("attempts_exhausted", f"stage {claim.stage}"),)
    known = () if claim.attempt < ports.policy.max_attempts else exhausted
    result = StudyResult.failed(study, tuple(dict.fromkeys((*known, reason))), ports.software_version)
    _LOG.error("study %s: given up at stage %s: %s", study.study_id, claim.stage, reason)
    _finish(claim, ports, result)
    return "failed"


def _finish(claim: Claim, ports: StagePorts, result: StudyResult) -> bool:
    study = claim.study
    write_json(ports.store, keys.result_json(study.site, study.study_id), result.to_json())
    return ports.ledger.finish(
        claim,
        result.state,
        now_s=ports.clock(),
        assessment=result.finding.assessment,
        region=result.region,
        max_fracture_probability=result.max_fracture_probability,
        reasons=result.finding.reasons,
    )
