"""Names from other systems: what encoding they are in, and what stays of them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractureai.domain.name_encoding import decode, encoding_of, repaired
from fractureai.domain.names import MAX_NAME_BYTES, derived_name, distinct_names, safe_name, safe_text

ESCAPED = "Müller.png".encode("cp1252").decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Müller_Röntgen.png", "utf-8"),
        ("Müller_Röntgen.png", "cp1252"),
        ("Müller_Röntgen.png", "cp437"),
        ("Größe/Füße.dcm", "cp850"),
        ("Øystein Ås.dcm", "cp850"),
        ("résultat élève.png", "latin-1"),
        ("山田太郎/左手.dcm", "cp932"),
        ("やまだ_01.dcm", "cp932"),
        ("手.png", "cp932"),
        ("张伟/左手正位.dcm", "gbk"),
        ("欧阳娜娜 X光片", "gbk"),
        ("陳美玲", "big5"),
        ("김철수/왼손.dcm", "cp949"),
    ],
)
def test_an_encoding_is_told_by_what_it_reads_as(name: str, encoding: str) -> None:
    raw = name.encode(encoding)
    assert decode(raw, encoding_of([raw])) == name
    assert safe_name(raw.decode("utf-8", "surrogateescape")) == name


@pytest.mark.parametrize(
    ("name", "encoding"), [("Иванов", "cp1251"), ("Łukasz Żółć", "cp1250"), ("محمد", "cp1256"), ("喆", "gbk")]
)
def test_what_could_be_anything_shows_its_bytes(name: str, encoding: str) -> None:
    shown = safe_name(name.encode(encoding))
    assert shown.isascii()
    assert "%" in shown
    other = name[::-1].encode(encoding)
    assert len(name) == 1 or safe_name(other) != shown


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ëEπ°ì£", "右脛骨"),
        ("r├╢ntgen.png", "röntgen.png"),
        ("MÃ¼ller.png", "Müller.png"),
        *(
            (name, name)
            for name in ("Müller", "Åse Ñandú", "50° links", "α-β π", "£5 naïve", "右脛骨", "Größe", "Ã", "«é»")
        ),
    ],
)
def test_what_was_decoded_wrongly_is_repaired_where_there_is_no_doubt(written: str, meant: str) -> None:
    assert repaired(written) == meant


def test_names_of_one_archive_help_each_other() -> None:
    ambiguous, clear = "喆.png".encode("gbk"), "张伟/左手正位.dcm".encode("gbk")
    assert encoding_of([ambiguous]) is None
    assert decode(ambiguous, encoding_of([ambiguous, clear])) == "喆.png"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, ""),
        (ESCAPED, "Müller.png"),
        (b"M\xfcller/1.png", "Müller/1.png"),
        (f"Jörg/{ESCAPED}", "Jörg/Müller.png"),
        ("../../etc/passwd", "etc/passwd"),
        ("/absolute/a.png", "absolute/a.png"),
        ("日本語.dcm", "日本語.dcm"),
        ("a\x00b\r\nc.png", "abc.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\ud800.png", ".png"),
        ("\x01/\x02", ""),
        (". ./ .. /x", ". ./x"),
    ],
)
def test_names_are_made_fit_to_show(sent: str | bytes | None, kept: str) -> None:
    assert safe_name(sent) == kept


def test_what_is_cut_stays_different_and_keeps_its_type() -> None:
    deep = [f"{patient}/{'folder/' * 200}front.png" for patient in ("anna", "bert")]
    first, second = map(safe_name, deep)
    assert first != second
    assert first.endswith("/front.png")
    assert PurePosixPath(first).parent == PurePosixPath(safe_name(deep[0].replace("front", "side, longer"))).parent
    long = [safe_name(f"{letter}{'ö' * 300}.dcm") for letter in "ab"]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= MAX_NAME_BYTES and name.endswith("ö.dcm") for name in long)


def test_two_folders_or_files_never_become_one() -> None:
    names = [
        "a\x01/1.png",
        "a/1.png",
        "a/1\x01.png",
        "a/1.png",
        "a\x01/2.png",
        "\x01",
        "\x02",
        f"b/{ESCAPED}",
        "b/Müller.png",
    ]
    assert distinct_names(names) == [
        *("a/1.png", "a (2)/1.png", "a (2)/1 (2).png", "a (2)/1.png", "a/2.png"),
        *("unnamed", "unnamed (2)", "b/Müller.png", "b/Müller (2).png"),
    ]
    assert distinct_names(["喆/1".encode("gbk").decode("utf-8", "surrogateescape"), "张伟/左手正位"]) == [
        "%86%B4/1",
        "张伟/左手正位",
    ]
    raw = [name.encode("gbk").decode("utf-8", "surrogateescape") for name in ("喆/1", "张伟/左手正位")]
    assert distinct_names(raw) == ["喆/1", "张伟/左手正位"]


def test_derived_names_fit_a_file_system() -> None:
    assert derived_name("short", ".pdf") == "short.pdf"
    for letter in "aö骨\udcfc":
        name = derived_name(letter * 255, ".reason.txt")
        assert name.endswith(f"{letter}.reason.txt")
        assert MAX_NAME_BYTES - 4 < len(name.encode("utf-8", "surrogateescape")) <= MAX_NAME_BYTES


@given(st.one_of(st.binary(max_size=600), st.text(max_size=600)))
def test_any_name_is_cleaned_once_for_all(name: str | bytes) -> None:
    once = safe_name(name)
    assert safe_name(once) == once
    assert once.isprintable() or not once.isascii()
    assert all(len(part.encode()) <= MAX_NAME_BYTES for part in once.rsplit("/", 1))


def test_text_is_one_line() -> None:
    assert safe_text(" a\nb\u202e ", 9) == "ab"
    assert safe_text(None, 9) == ""
    assert safe_text("x" * 99, 9) == "x" * 9
