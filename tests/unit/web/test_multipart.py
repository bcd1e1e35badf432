from __future__ import annotations

import io
import random

import pytest

from fractureai.web.multipart import MultipartReader, NotMultipart


class Dribble(io.RawIOBase):
    """A stream that gives as little as it likes."""

    def __init__(self, data: bytes, most: int) -> None:
        self._inner = io.BytesIO(data)
        self._random = random.Random(most)
        self._most = most

    def read(self, _size: int = -1) -> bytes:
        return self._inner.read(self._random.randint(1, self._most))


def body(parts: list[tuple[dict[str, str], bytes]], boundary: str = "b0") -> bytes:
    whole = b"a preamble nobody reads"
    for headers, content in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole += f"\r\n--{boundary} \r\n{lines}\r\n".encode() + content
    return whole + f"\r\n--{boundary}--\r\nan epilogue".encode()


PARTS = [
    ({"Content-Type": "application/dicom; transfer-syntax=*"}, b"one\r\n--b"),
    ({}, b"two"),
    ({"content-type": "Application/DICOM"}, b""),
    ({"X": "y"}, bytes(range(256)) * 40 + b"\r\n--b\r\n--b1"),
]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 50, 1_000_000])
def test_parts_come_out_whole_however_the_bytes_come_in(most: int) -> None:
    found = [(part.media_type, b"".join(part.chunks)) for part in MultipartReader(Dribble(body(PARTS), most), "b0")]
    assert found == [
        ("application/dicom", b"one\r\n--b"),
        ("", b"two"),
        ("application/dicom", b""),
        ("", PARTS[3][1]),
    ]


@pytest.mark.parametrize("most", [1, 3, 1_000_000])
def test_line_breaks_may_be_line_feeds_alone(most: int) -> None:
    data = (
        b"a preamble\n--b0 \nContent-Type: application/dicom;\n transfer-syntax=*\n\none\r\n"
        b"\n--b0\n\n\n--b0\nX: y\n\r\ntwo\n--b0--\nan epilogue"
    )
    found = [(part.media_type, b"".join(part.chunks)) for part in MultipartReader(Dribble(data, most), "b0")]
    assert found == [("application/dicom", b"one\r\n"), ("", b""), ("", b"two")]


@pytest.mark.parametrize("written", ["'b'", "b"])
def test_single_quotes_belong_to_the_boundary_where_the_body_has_them(written: str) -> None:
    data = f"--{written}\r\n\r\nx\r\n--{written}--".encode()
    assert [b"".join(part.chunks) for part in MultipartReader(io.BytesIO(data), "'b'")] == [b"x"]


def test_a_boundary_that_is_not_there_is_named() -> None:
    with pytest.raises(NotMultipart, match="“wanted”"):
        list(MultipartReader(io.BytesIO(body(PARTS)), "wanted"))


def test_a_part_that_is_not_read_is_passed_over() -> None:
    assert len(list(MultipartReader(io.BytesIO(body(PARTS)), "b0"))) == len(PARTS)


def test_it_may_begin_with_the_boundary() -> None:
    (part,) = MultipartReader(io.BytesIO(b"--b\r\n\r\nx\r\n--b--"), "b")
    assert part.media_type == ""


@pytest.mark.parametrize(
    "data",
    [b"", b"nothing of the kind", b"--b", b"--b\r\n", b"--b\r\nX: y\r\n\r\nends here", b"--b!\r\n\r\nx\r\n--b--"],
)
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(NotMultipart):
        [b"".join(part.chunks) for part in MultipartReader(io.BytesIO(data), "b")]


def test_headers_are_bounded() -> None:
    endless = b"--b\r\nX: " + b"y" * 10_000_000
    stream = io.BytesIO(endless)
    with pytest.raises(NotMultipart, match="too long"):
        list(MultipartReader(stream, "b"))
    assert stream.tell() < 1_000_000


@pytest.mark.parametrize("boundary", ["", "x" * 201, "ü"])
def test_a_boundary_is_short_and_plain(boundary: str) -> None:
    with pytest.raises(NotMultipart):
        MultipartReader(io.BytesIO(b""), boundary)
