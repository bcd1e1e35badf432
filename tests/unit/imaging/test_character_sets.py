"""Person names as archives and modalities send them: in the character set they name, and in another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractureai.imaging.character_sets import PERSON_NAME_DELIMITERS, CharacterSet, Trust, is_defined_term

CHINESE = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab= "
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
KANA = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"


def decoded(terms: list[str], value: bytes) -> tuple[str, str]:
    found = CharacterSet(terms).decode(value, PERSON_NAME_DELIMITERS)
    return found.text, found.trust.name


@pytest.mark.parametrize(
    ("terms", "value", "text"),
    [
        # PS3.5 annexes H, I, J and K.
        (["", "ISO 2022 IR 87"], JAPANESE, "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], KANA, "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 159"], b"A=\x1b$(D0!\x1b(B", "A=丂"),
        (["", "ISO 2022 IR 149"], KOREAN, "Hong^Gildong=洪^吉洞=홍^길동"),
        (["", "ISO 2022 IR 58"], CHINESE, "Zhang^XiaoDong=张^小东="),
        (["ISO_IR 192"], "Wang^XiaoDong=王^小东=".encode(), "Wang^XiaoDong=王^小东="),
        (["GB18030"], "Wang^XiaoDong=王^小东=".encode("gb18030"), "Wang^XiaoDong=王^小东="),
        (["GBK"], "Wang^XiaoDong=王^喆=".encode("gbk"), "Wang^XiaoDong=王^喆="),
        (["ISO_IR 100"], b"M\xfcller^J\xf6rg", "Müller^Jörg"),
        (["ISO_IR 101"], "Wałęsa".encode("iso8859_2"), "Wałęsa"),
        (["ISO_IR 126"], "Διονυσιος".encode("iso8859_7"), "Διονυσιος"),
        (["ISO_IR 127"], "قباني^لنزار".encode("iso8859_6"), "قباني^لنزار"),
        (["ISO_IR 138"], "שרון^דבורה".encode("iso8859_8"), "שרון^דבורה"),
        (["ISO_IR 144"], "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
        # Every pair of letters is UTF-8 as well.
        (["ISO_IR 144"], "ХАТА".encode("iso8859_5"), "ХАТА"),
        (["ISO_IR 148"], "Çavuşoğlu".encode("iso8859_9"), "Çavuşoğlu"),
        (["ISO_IR 166"], "นามสกุล^ชื่อ".encode("tis_620"), "นามสกุล^ชื่อ"),
        (["ISO 2022 IR 100", "ISO 2022 IR 144"], b"\x1b-L\xbb\xee\x1b-A^M\xfcller", "Лю^Müller"),
        # As it is written in practice.
        (["", "ISO 2022 IR 58"], b"=\x1b$)A\xd5\xc5^\xd0\xa1\xb6\xab", "=张^小东"),
        (["ISO_IR 149"], "Kim^Chulsu=김^철수".encode("cp949"), "Kim^Chulsu=김^철수"),
        (["ISO_IR 149"], b"\xc8\xab^\xb1\xe6\xb5\xbf", "홍^길동"),
        (["ISO 2022 IR 149"], "배동환".encode("cp949"), "배동환"),
        (["ISO_IR 192", "ISO 2022 IR 87"], b"Yamada=\x1b$B;3ED\x1b(B", "Yamada=山田"),
        (["ISO_IR 192", "ISO 2022 IR 87"], "Yamada=山田".encode(), "Yamada=山田"),
        (["ISO-IR 100"], b"M\xfcller", "Müller"),
        (["ISO_IR_100"], b"M\xfcller", "Müller"),
        (["iso ir 100"], b"M\xfcller", "Müller"),
        (["ISO-8859-1"], b"M\xfcller", "Müller"),
        (["UTF8"], "Müller".encode(), "Müller"),
        (["utf-8"], "王^小东".encode(), "王^小东"),
        (["SHIFT_JIS"], "山田^太郎".encode("cp932"), "山田^太郎"),
        (["GB2312"], "张^小东".encode("gb2312"), "张^小东"),
        (["Windows-1251"], "Иванов".encode("cp1251"), "Иванов"),
    ],
)
def test_what_is_declared_is_decoded(terms: list[str], value: bytes, text: str) -> None:
    assert decoded(terms, value) == (text, "DECLARED")


@pytest.mark.parametrize(
    ("terms", "value", "text"),
    [
        ([], "Müller".encode(), "Müller"),
        ([""], "山田^太郎".encode(), "山田^太郎"),
        (["ISO_IR 6"], "Иванов".encode(), "Иванов"),
        (["ISO_IR 100"], "Müller".encode(), "Müller"),
        (["ISO_IR 144"], "Иванов".encode(), "Иванов"),
        (["GB18030"], "王小东".encode(), "王小东"),
        (["ISO_IR 149"], "김철수".encode(), "김철수"),
        (["ISO_IR 13"], "山田^太郎".encode("cp932"), "山田^太郎"),
        (["", "ISO 2022 IR 87"], "山田^太郎".encode("cp932"), "山田^太郎"),
    ],
)
def test_what_is_wrongly_declared_beyond_doubt_is_repaired(terms: list[str], value: bytes, text: str) -> None:
    assert decoded(terms, value) == (text, "REPAIRED")


@pytest.mark.parametrize(
    ("terms", "value", "text"),
    [
        ([], b"M\xfcller^J\xf6rg", "Müller^Jörg"),
        (["ISO_IR 192"], b"M\xfcller^J\xf6rg", "Müller^Jörg"),
        (["ISO_IR 999"], b"M\xfcller", "Müller"),
        ([], "王小东".encode("gbk"), "王小东"),
        ([], "김철수".encode("cp949"), "김철수"),
    ],
)
def test_a_guess_is_one(terms: list[str], value: bytes, text: str) -> None:
    assert decoded(terms, value) == (text, "GUESSED")


@pytest.mark.parametrize(
    ("terms", "value", "text"),
    [
        ([], "Иванов".encode("cp1251"), "\ufffd"),
        (["ISO_IR 192"], b"Doe^\xff\xfe", "Doe^\ufffd"),
        (["ISO_IR 192"], b"Doe\x1b[31m^J", "Doe[31m^J"),
        (["", "ISO 2022 IR 87"], b"Yamada=\x1b$B;3E", "Yamada=;3E"),
        (["", "ISO 2022 IR 87"], b"Yamada\x1b", "Yamada"),
        (["", "ISO 2022 IR 999"], b"A\x1b$)Z\xd5\xc5", "A\ufffd"),
        # Two-byte letters of another script: no Latin or Greek name in UTF-8.
        ([], "模妹".encode("gbk"), "\ufffd"),
    ],
)
def test_what_cannot_be_decoded_says_so_and_holds_no_escape_codes(terms: list[str], value: bytes, text: str) -> None:
    assert decoded(terms, value) == (text, "UNDECODED")


@given(
    st.lists(st.sampled_from(["", "ISO_IR 192", "ISO 2022 IR 87", "ISO_IR 13", "GB18030", "ISO_IR 149", "x"])),
    st.binary(),
)
def test_any_bytes_are_decoded_to_something(terms: list[str], value: bytes) -> None:
    text, _ = decoded(terms, value)
    assert "\x1b" not in text
    text.encode()


def test_defined_terms_are_those_of_the_standard() -> None:
    known = [
        "",
        "ISO_IR 100",
        "ISO_IR 203",
        "ISO 2022 IR 6",
        "ISO 2022 IR 58",
        "ISO_IR 192",
        "GB18030",
        "GBK",
        "ISO_IR 13",
    ]
    assert all(map(is_defined_term, known))
    assert not any(
        map(is_defined_term, ["ISO_IR 149", "ISO-IR 100", "UTF8", "ISO 2022 IR 192", "ISO_IR 87", "ISO_IR 999"])
    )
    assert Trust.DECLARED < Trust.REPAIRED < Trust.GUESSED < Trust.UNDECODED
