"""Cards as tables, and the probability scale."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractureai.web.cards import Block, block_of
from fractureai.web.scale import _FRACTURE_LABEL, _SUSPECTED_LABEL, WIDTH, Mark, scale_of
from fractureai.web.words import percent

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


def test_plain_figures_are_names_and_values() -> None:
    assert block_of("", {"auc": 0.91234, "images": 1201, "interval_95": [0.8, 0.95]}).rows == (
        ("auc", "0.9123"),
        ("images", "1\N{THIN SPACE}201"),
        ("interval 95", "[0.8, 0.95]"),
    )


def test_records_alike_become_one_table() -> None:
    block = block_of("", {"by_class": {"elbow": {"recall": 0.9}, "hand": {"recall": 0.8, "note": "x"}}})
    assert block.parts == (Block("by class", ("", "recall", "note"), (("elbow", "0.9", "–"), ("hand", "0.8", "x"))),)


def test_lists_of_records_are_numbered() -> None:
    assert block_of("runs", [{"auc": 1}, {"auc": 2}]).rows == (("1", "1"), ("2", "2"))


def test_what_is_unlike_nests() -> None:
    block = block_of("", {"note": "x", "test": {"auc": 0.9, "deep": {"a": {"b": 1}}}})
    assert block.rows == (("note", "x"),)
    assert block.parts[0].title == "test"
    assert block.parts[0].parts[0].title == "deep"


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_any_card_can_be_drawn(data: dict[str, Any]) -> None:
    def check(block: Block) -> None:
        assert all(len(row) == (len(block.columns) or 2) for row in block.rows)
        for part in block.parts:
            check(part)

    check(block_of("", data))


def _span(mark: Mark, width: float) -> tuple[float, float]:
    return (mark.x, mark.x + width) if mark.anchor == "start" else (mark.x - width, mark.x)


@pytest.mark.parametrize("low", [0.0, 0.05, 0.21, 0.33, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("step", [0.0, 0.02, 0.2, 0.4, 0.7])
def test_labels_stay_inside_and_apart(low: float, step: float) -> None:
    high = min(low + step, 1.0)
    scale = scale_of({"fracture_probability": 0.5, "thresholds": {"suspected": low, "fracture": high}})
    assert scale is not None
    left, right = _span(scale.suspected, _SUSPECTED_LABEL)
    assert 0 <= left <= right <= WIDTH
    left, right = _span(scale.fracture, _FRACTURE_LABEL)
    assert 0 <= left <= right <= WIDTH
    assert scale.suspected.row != scale.fracture.row


def test_what_was_not_assessed_has_no_scale() -> None:
    assert scale_of({"fracture_probability": None, "thresholds": None}) is None


def test_words_for_numbers() -> None:
    assert [percent(value) for value in (None, 0.0, 0.004, 0.0951, 0.5, 0.999, 1.0)] == [
        "–",
        "< 1 %",
        "< 1 %",
        "10 %",
        "50 %",
        "> 99 %",
        "> 99 %",
    ]


def test_a_figure_stands_on_one_line_with_its_interval() -> None:
    block = block_of("test", {"images": 58, "auc": {"value": 0.7159, "low": 0.4521, "high": 0.9107}})
    assert not block.parts
    assert block.rows[1][1] == "0.7159 (0.4521 to 0.9107)"
