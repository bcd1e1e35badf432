from itertools import pairwise

import pytest

from fractureai.errors import BrokenDeployment
from fractureai.reports import glyphs
from fractureai.reports.glyphs import FOLDER, face, shape

SCRIPTS = {
    "Latin": "Łódź Nguyễn Thị Hằng",
    "Greek": "Παπαδόπουλος Γιώργος",
    "Cyrillic": "Иванов Пётр Ї",
    "Armenian": "հայերեն",
    "Hebrew": "כהן דוד שָׁלוֹם",
    "Arabic": "محمد عبد الله",
    "Persian": "می\u200cخواهم پژوهش",
    "Thaana": "ދިވެހި",
    "Devanagari": "राम कुमार शर्मा क्षत्रिय",
    "Bengali": "মোহাম্মদ",
    "Gurmukhi": "ਪੰਜਾਬੀ",
    "Gujarati": "ગુજરાતી",
    "Oriya": "ଓଡ଼ିଆ",
    "Tamil": "தமிழ்",
    "Telugu": "తెలుగు",
    "Kannada": "ಕನ್ನಡ",
    "Malayalam": "മലയാളം",
    "Sinhala": "සිංහල",
    "Thai": "สมชาย ใจดี น้ำ",
    "Lao": "ລາວ",
    "Myanmar": "မြန်မာ",
    "Georgian": "ქართველი",
    "Ethiopic": "አበበ",
    "Khmer": "ខ្មែរ",
    "Tifinagh": "ⵜⵉⴼⵉⵏⴰⵖ",
    "Chinese": "王小明 張偉",
    "Japanese": "山田太郎 やまだ タロウ",
    "Korean": "김철수 뷁",
}


def drawn(text: str) -> list[glyphs.Glyph]:
    return [glyph for run in shape(text).runs for glyph in run.glyphs]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_glyphs(name: str) -> None:
    assert all(glyph.gid for glyph in drawn(SCRIPTS[name]))


@pytest.mark.parametrize("name", SCRIPTS)
def test_glyphs_say_every_character_once(name: str) -> None:
    text = SCRIPTS[name]
    assert sorted("".join(glyph.text for glyph in drawn(text))) == sorted(text)


def test_arabic_letters_join() -> None:
    alone = [glyph.gid for letter in "محمد" for glyph in drawn(letter)]
    joined = [glyph.gid for glyph in reversed(drawn("محمد"))]
    assert joined != alone


def test_right_to_left_runs_are_drawn_from_the_left() -> None:
    assert "".join(glyph.text for glyph in drawn("abc אבג 12")) == "abc 12 גבא"
    assert "".join(glyph.text for glyph in drawn("אבג abc")) == "abc גבא"


def test_a_missing_character_becomes_a_box_that_keeps_its_text() -> None:
    (box,) = drawn("\U0001f9b4")
    assert (box.gid, box.text) == (0, "\U0001f9b4")
    assert box.advance > 0


def test_bold_changes_the_font_of_latin_only() -> None:
    assert [run.face for run in shape("Jane 山", bold=True).runs] == ["NotoSans-Bold", "DroidSansFallback"]


def test_every_font_named_is_bundled_with_its_licence_and_fits_the_budget() -> None:
    names = {name for _, _, name in glyphs._SCRIPTS} | glyphs._UNSHAPED
    assert {path.stem for path in FOLDER.glob("*.ttf")} == names
    assert (FOLDER / "OFL.txt").is_file()
    assert (FOLDER / "LICENSE-DroidSansFallback.txt").is_file()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000


def test_script_ranges_do_not_overlap() -> None:
    ends = [(first, last) for first, last, _ in glyphs._SCRIPTS]
    assert all(first <= last for first, last in ends)
    assert all(before[1] < after[0] for before, after in pairwise(ends))


def test_a_missing_font_is_a_broken_deployment() -> None:
    with pytest.raises(BrokenDeployment, match="NoSuchFont"):
        face("NoSuchFont")
