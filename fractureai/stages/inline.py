"""The whole chain in one process, without queue and ledger: for the command line and for measuring."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from fractureai.domain.identity import known_among
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Stage, Study
from fractureai.stages import classify, detect, explain, report
from fractureai.stages.identity import Elsewhere
from fractureai.stages.lease import Closed
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

WORK: Final[dict[Stage, Callable[[Claim, StagePorts], Closed | None]]] = {
    Stage.CLASSIFY: classify.work,
    Stage.DETECT: detect.work,
    Stage.EXPLAIN: explain.work,
    Stage.REPORT: report.work,
}


def analyze(
    study: Study,
    ports: StagePorts,
    *,
    among: Sequence[Study] = (),
    observe: Callable[[Stage], None] = lambda _: None,
) -> StudyResult:
    """Run all stages of a study whose sources are in the store.

    ``among`` are the studies it came with; ``observe`` is told each stage before it begins. An unexpected error becomes
    a ``failed`` result, so that the studies after it go on.
    """

    def classify_alone(claim: Claim, ports: StagePorts) -> Closed | None:
        found = classify.classified(claim.study, lambda named, _: Elsewhere(known_among(named, among)), ports)
        return found if isinstance(found, Closed) else None

    try:
        for stage, work in {**WORK, Stage.CLASSIFY: classify_alone}.items():
            observe(stage)
            closed = work(Claim(study, stage, "inline", 1), ports)
            if closed is not None:
                return closed.result
    except (Exception, MemoryError) as error:  # one study's trouble must not end the others
        _LOG.exception("study %s failed", study.study_id)
        return StudyResult.failed(study, (Reason("internal_error", type(error).__name__),), ports.software_version)
    raise AssertionError("the last stage closes the study")
