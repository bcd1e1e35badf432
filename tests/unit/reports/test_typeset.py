import random

import pytest

from fractureai.reports.typeset import Style, clean, set_line, set_lines, width_pt

STYLE = Style(10, 14, (0, 0, 0))


def words(line) -> str:
    return "".join(glyph.text for run in line.runs for glyph in run.glyphs)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (" a \t\r\n b\u00a0c ", "a b c"),
        ("a\x00\x07\x1bb", "ab"),
        ("\u202eabc\u202c \u2066x\u2069\u200e", "abc x"),
        ("e\u0301", "é"),
        ("\u1112\u1161\u11ab", "한"),
        ("\ud800x", "\ufffdx"),
        ("\ufa19", "\ufa19"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
    ],
)
def test_clean(text: str, drawn: str) -> None:
    assert clean(text) == drawn


def test_long_text_is_cut() -> None:
    assert clean("x" * 5000, 50) == "x" * 49 + "…"


@pytest.mark.parametrize(
    "text", ["word " * 60, "x" * 900, "山" * 200, "สวัสดี" * 60, "محمد عبد الله " * 30, "a" + "\u0301" * 300]
)
def test_no_line_is_wider_than_asked(text: str) -> None:
    lines = set_lines(text, STYLE, 120)
    assert lines
    assert all(width_pt(line, STYLE) <= 120.01 for line in lines)


def test_all_words_are_kept_when_lines_are_not_limited() -> None:
    text = "The probability lies between the two thresholds: neither a clear finding nor a clear absence."
    assert " ".join(words(line) for line in set_lines(text, STYLE, 90)) == text


def test_limited_lines_end_in_an_ellipsis() -> None:
    lines = set_lines("word " * 60, STYLE, 100, max_lines=2)
    assert len(lines) == 2
    assert words(lines[-1]).endswith("…")
    assert width_pt(lines[-1], STYLE) <= 100


def test_a_width_below_one_character_still_ends() -> None:
    assert len(set_lines("abc", STYLE, 1)) == 3


def test_any_text_can_be_set() -> None:
    source = random.Random(7)
    for _ in range(200):
        text = "".join(chr(source.randrange(0x110000)) for _ in range(source.randrange(1, 40)))
        set_line(text, STYLE)
        set_lines(text, STYLE, 60, 3)
