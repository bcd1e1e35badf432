"""From scores to a decision, per image and per study. Pure rules; the numbers come from the model cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fractureai.domain.card import ModelCard
from fractureai.domain.reasons import REMARKS, WARNINGS, Reason
from fractureai.domain.scores import RegionReading
from fractureai.domain.study import Assessment


@dataclass(frozen=True, slots=True)
class Finding:
    """The decision on an image or a study, with what led to it."""

    assessment: Assessment
    reasons: tuple[Reason, ...] = ()


def scope_reasons(reading: RegionReading, card: ModelCard) -> tuple[Reason, ...]:
    """Why the picture must not be assessed; empty if it may.

    A picture the classifier does not know, or a region it is not sure of, would be read by the wrong model, and a
    wrong model gives a confident wrong negative. So it is not read at all.
    """
    rule = card.scope
    if rule is None:
        raise ValueError(f"{card.name} is not a region model")
    if reading.scope_score < rule.threshold:
        return (Reason("out_of_scope"),)
    if reading.probability < rule.min_region_probability:
        return (Reason("unsure_region", f"{reading.name} {reading.probability:.0%}"),)
    return ()


def assess_probability(probability: float, thresholds: tuple[float, float]) -> Finding:
    """Decide on an image in scope from its calibrated fracture probability.

    ``thresholds`` are those of the card's operating points, ``(suspected, fracture)``.
    """
    suspected, fracture = thresholds
    if probability >= fracture:
        return Finding(Assessment.FRACTURE)
    if probability >= suspected:
        return Finding(Assessment.SUSPECTED, (Reason("near_threshold"),))
    return Finding(Assessment.NO_FRACTURE)


def beyond_doubt(finding: Finding, notes: Sequence[Reason]) -> Finding:
    """Replace ``no_fracture`` by ``inconclusive`` where a note contradicts it.

    A normal result of another bone, or of an unknown one of two patients, means nothing. A fracture stays urgent.
    """
    against = tuple(note for note in notes if note.code not in REMARKS)
    if finding.assessment is Assessment.NO_FRACTURE and against:
        return Finding(Assessment.INCONCLUSIVE, tuple(dict.fromkeys((*finding.reasons, *against))))
    return finding


def assess_study(findings: Sequence[Finding], notes: Sequence[Reason] = ()) -> Finding:
    """Decide on a study from its images: the most urgent view counts.

    A view that could not be assessed keeps the study from ``no_fracture``, and so does a note that is no mere remark.

    Parameters
    ----------
    notes:
        What is to be said of the study as a whole.

    Returns
    -------
    The assessment with all reasons, warnings first.
    """
    found = beyond_doubt(_most_urgent(findings), notes)
    reasons = dict.fromkeys((*found.reasons, *notes))
    return Finding(found.assessment, tuple(sorted(reasons, key=lambda reason: reason.code not in WARNINGS)))


def _most_urgent(findings: Sequence[Finding]) -> Finding:
    if not findings:
        return Finding(Assessment.INCONCLUSIVE, (Reason("no_images"),))
    worst = min(findings, key=lambda finding: finding.assessment.urgency)
    # A view's doubt is no reason of a study that another view decides.
    telling = [
        reason
        for finding in findings
        for reason in finding.reasons
        if finding.assessment is worst.assessment or reason.code != "near_threshold"
    ]
    reasons = list(dict.fromkeys(telling))
    assessed = [finding for finding in findings if finding.assessment is not Assessment.INCONCLUSIVE]
    if assessed and len(assessed) < len(findings):
        reasons.append(Reason("views_not_assessed", f"{len(findings) - len(assessed)} of {len(findings)}"))
    return Finding(worst.assessment, tuple(reasons))
