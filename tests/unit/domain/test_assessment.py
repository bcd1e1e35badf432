"""Decisions: thresholds are met or not, the most urgent view counts, and doubt is never "no fracture"."""

from __future__ import annotations

import itertools

import pytest

from fractureai.domain.anatomy import contradicts, names_no_limb
from fractureai.domain.assessment import Finding, assess_probability, assess_study, scope_reasons
from fractureai.domain.card import ModelCard
from fractureai.domain.reasons import Reason
from fractureai.domain.scores import RegionReading
from fractureai.domain.study import Assessment
from tests.cards import region_card


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.0, Assessment.NO_FRACTURE),
        (0.1999, Assessment.NO_FRACTURE),
        (0.2, Assessment.SUSPECTED),
        (0.5999, Assessment.SUSPECTED),
        (0.6, Assessment.FRACTURE),
        (1.0, Assessment.FRACTURE),
    ],
)
def test_a_threshold_belongs_to_the_more_urgent_side(probability: float, expected: Assessment) -> None:
    assert assess_probability(probability, (0.2, 0.6)).assessment is expected


@pytest.mark.parametrize(
    ("score", "probability", "code"),
    [(0.1, 0.99, "out_of_scope"), (0.9, 0.5, "unsure_region"), (0.1, 0.5, "out_of_scope"), (0.5, 0.8, None)],
)
def test_what_may_not_be_assessed(score: float, probability: float, code: str | None) -> None:
    card: ModelCard = region_card(scope_threshold=0.5, min_region_probability=0.8)
    reading = RegionReading({"hand": probability, "elbow": 1 - probability}, score)
    reasons = scope_reasons(reading, card)
    assert [reason.code for reason in reasons] == ([code] if code else [])


@pytest.mark.parametrize("others", list(itertools.combinations_with_replacement(Assessment, 2)))
def test_the_most_urgent_view_decides(others: tuple[Assessment, Assessment]) -> None:
    study = assess_study([Finding(assessment) for assessment in others])
    assert study.assessment is min(others, key=lambda assessment: assessment.urgency)


def test_a_view_that_was_not_assessed_forbids_no_fracture() -> None:
    unread = Finding(Assessment.INCONCLUSIVE, (Reason("damaged"),))
    study = assess_study([Finding(Assessment.NO_FRACTURE), unread])
    assert study.assessment is Assessment.INCONCLUSIVE
    assert [reason.code for reason in study.reasons] == ["damaged", "views_not_assessed"]


def test_a_study_without_findings_is_inconclusive() -> None:
    assert assess_study([]).assessment is Assessment.INCONCLUSIVE


@pytest.mark.parametrize(
    ("header", "region", "expected"),
    [
        ("HAND", "hand", False),
        ("Hand ", "hand", False),
        ("LOWER LEG", "leg", False),
        ("ELBOW", "hand", True),
        ("CHEST", "leg", False),
        ("EXTREMITY", "leg", False),
        ("", "leg", False),
        ("ELBOW", "toe-of-another-model", False),
    ],
)
def test_body_part_against_region(header: str, region: str, expected: bool) -> None:
    assert contradicts(header, region) is expected


def test_a_views_doubt_is_no_reason_of_a_study_another_view_decides() -> None:
    doubtful = Finding(Assessment.SUSPECTED, (Reason("near_threshold"),))
    assert assess_study([doubtful, Finding(Assessment.FRACTURE)]) == Finding(Assessment.FRACTURE)
    assert assess_study([doubtful, Finding(Assessment.NO_FRACTURE)]) == doubtful


@pytest.mark.parametrize(
    ("header", "expected"), [("CHEST", True), ("C-SPINE", True), ("HAND", False), ("", False), ("EXTREMITY", False)]
)
def test_a_header_may_name_no_limb_at_all(header: str, expected: bool) -> None:
    assert names_no_limb(header) is expected
