import pytest

from fractureai.reports import bidi


def visual(text: str) -> str:
    """Characters from left to right, without mirroring."""
    levels = bidi.levels(text, bidi.base_level(text))
    return "".join(text[index] for index in bidi.visual_order(levels))


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("abc def", "abc def"),
        ("אבג", "גבא"),
        ("אב גד", "דג בא"),
        ("ID אבג 12", "ID 12 גבא"),
        ("אבג 12", "12 גבא"),
        ("אבג 12.5%", "12.5% גבא"),
        ("אבג abc", "abc גבא"),
        ("دار ٣٤", "٣٤ راد"),
        ("", ""),
    ],
)
def test_lines_are_put_into_drawing_order(text: str, drawn: str) -> None:
    assert visual(text) == drawn


def test_text_without_right_to_left_letters_is_told_apart() -> None:
    assert not bidi.has_right_to_left("Müller, 山田 12")
    assert bidi.has_right_to_left("Müller כהן")


def test_a_mark_follows_its_letter() -> None:
    assert bidi.levels("אָ", 1) == [1, 1]
