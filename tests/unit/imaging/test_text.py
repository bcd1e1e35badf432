from __future__ import annotations

import pytest

from fractureai.imaging.text import clean


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("  Elbow   left ", "Elbow left"),
        ("a\r\nb\tc\0d", "a b c d"),
        ("abc\u202egnp.exe", "abc gnp.exe"),
        ("\udcff\ue000\u2028", ""),
        ("山田^太郎 Müller", "山田^太郎 Müller"),
        (None, "None"),
        (17, "17"),
    ],
)
def test_one_safe_line(given, shown):
    assert clean(given) == shown


def test_bounded():
    assert len(clean("x" * 100_000)) == 128
    assert clean("y" * 50, 7) == "yyyyyyy"
