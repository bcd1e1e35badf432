from __future__ import annotations

import pytest

from fractureai.domain.name_pattern import NamePattern


@pytest.mark.parametrize(
    ("pattern", "name", "study"),
    [
        ("{study}_*", "12_front.png", "12"),
        ("{study}_*", "ward/12_front.png", "ward/12"),
        ("{study}_*", "case_12_front.png", "case_12"),
        ("{study}_*", "Case_12.PNG", "case"),
        ("{study}_*", "front.png", None),
        ("{study}_*", "_front.png", None),
        ("*-{study}-?", "ap-0815-l.tif", "0815"),
        ("*-{study}-?", "ap-0815-li.tif", None),
        ("{study}/*", "2026/0815/ap.png", "2026/0815"),
        ("{study}/*", "ap.png", None),
        ("{study}.*.png", "12.front.png", "12"),
        ("{study}.*", "12.front.png", "12.front"),
        ("IM{study}[1]", "im7[1].dcm", "7"),
        ("{study}_*", "12_archive.zip/7_a.png", "12_archive.zip/7"),
        ("{study}_*", "", None),
        ("{study}_*", ".hidden_file", ".hidden"),
    ],
)
def test_the_study_is_what_names_share(pattern: str, name: str, study: str | None) -> None:
    assert NamePattern(pattern).study_of(name) == study


NO_PATTERNS = ("", "*", "case_*", "{study}*", "*{study}", "{study}**", "{study}_{study}", "*_*_*_{study}", "a\n{study}")


@pytest.mark.parametrize("text", [*NO_PATTERNS, "{study}" + "x" * 120])
def test_what_is_no_pattern_is_refused_with_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"Example: \{study\}_"):
        NamePattern(text)


def test_no_name_costs_much() -> None:
    assert NamePattern("*a{study}a*b").study_of("a" * 10_000) is None
