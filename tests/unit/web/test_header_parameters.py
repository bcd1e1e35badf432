"""Headers with parameters, as they are written by programs that do not know RFC 2045 by heart."""

from __future__ import annotations

import pytest

from fractureai.web.header_parameters import media_type_of, parse_header


@pytest.mark.parametrize(
    ("text", "value", "parameters"),
    [
        ("multipart/related; type=application/dicom; boundary=abc", "multipart/related", ("application/dicom", "abc")),
        (
            'multipart/related; type="application/dicom"; boundary="a;b"',
            "multipart/related",
            ("application/dicom", "a;b"),
        ),
        ("multipart/related;boundary=----=_Part_1_2.3;type=x/y;", "multipart/related", ("x/y", "----=_Part_1_2.3")),
        ("Multipart/Related ; TYPE = x/y ;Boundary= a b ", "multipart/related", ("x/y", "a b")),
        ("multipart/related; type='x/y'; boundary='b'", "multipart/related", ("'x/y'", "'b'")),
        ('multipart/related; type="x/y; boundary=b', "multipart/related", ("x/y; boundary=b", None)),
        ('multipart/related; start=<a@b>; boundary="a\\"b\\\\c"; boundary=2', "multipart/related", (None, 'a"b\\c')),
        ("", "", (None, None)),
        (";;=; =x; boundary", "", (None, None)),
    ],
)
def test_parameters(text: str, value: str, parameters: tuple[str | None, str | None]) -> None:
    found = parse_header(text)
    assert found.value == value
    assert (found.parameters.get("type"), found.parameters.get("boundary")) == parameters


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("attachment; filename*=UTF-8''r%C3%B6nt.dcm", "rönt.dcm".encode()),
        ("attachment; filename=x; filename*=iso-8859-1'en'r%F6nt.dcm", b"r\xf6nt.dcm"),
        ("attachment; filename*=broken", None),
    ],
)
def test_extended_values_are_bytes(text: str, name: bytes | None) -> None:
    assert parse_header(text).extended.get("filename") == name


def test_windows_paths_keep_their_backslashes() -> None:
    assert parse_header(r'form-data; filename="C:\photos\a.png"').parameters["filename"] == r"C:\photos\a.png"


@pytest.mark.parametrize("text", [';a="' * 20_000, ";" + " " * 50_000, "\\" * 50_000, 'x;y="' + "\\" * 50_001])
def test_long_nonsense_is_read_in_no_time(text: str) -> None:
    parse_header(text)


def test_media_types() -> None:
    assert media_type_of(' "Application/DICOM; transfer-syntax=*" ') == "application/dicom"
    assert media_type_of("'application/dicom'") == "application/dicom"
    assert media_type_of("") == ""
