from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from fractureai.domain.ports import Member
from fractureai.domain.reasons import Reason
from fractureai.errors import RejectedInput
from fractureai.imaging.archive import ZipArchiveReader
from fractureai.imaging.limits import ArchiveLimits

SYMLINK = 0o120777 << 16


class Bytes:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, chunk: bytes) -> int:
        self.data += chunk
        return len(chunk)


@pytest.fixture
def make(tmp_path: Path):
    """Write a ZIP of ``(name or ZipInfo, bytes)``; ``patch`` may change its bytes."""

    def build(*members, method: int = zipfile.ZIP_DEFLATED, patch=None) -> Path:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, data in members:
                archive.writestr(name, data)
        data = stream.getvalue()
        path = tmp_path / "sent.zip"
        path.write_bytes(patch(data) if patch else data)
        return path

    return build


def listing(path: Path, limits: ArchiveLimits | None = None) -> tuple[list[str], dict[str, str]]:
    kept, skipped = ZipArchiveReader(limits).members(path)
    return [member.name for member in kept], {name: reason.code for name, reason in skipped}


def unpacked(path: Path, limits: ArchiveLimits | None = None) -> list[bytes]:
    reader, contents = ZipArchiveReader(limits), []
    for member in reader.members(path)[0]:
        sink = Bytes()
        reader.extract(path, member, sink)
        contents.append(sink.data)
    return contents


def reason(path: Path, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(RejectedInput) as caught:
        unpacked(path, limits)
    return caught.value.code


def all_at(data: bytes, mark: bytes) -> list[int]:
    places, at = [], data.find(mark)
    while at >= 0:
        places.append(at)
        at = data.find(mark, at + 1)
    return places


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_back_whole_and_in_order(make, method):
    contents = [b"", b"a", bytes(range(256)) * 5000, b"z" * 700_000]
    path = make(*((f"case/{number}.dcm", data) for number, data in enumerate(contents)), method=method)
    assert ZipArchiveReader().is_archive(path)
    assert listing(path) == (["case/0.dcm", "case/1.dcm", "case/2.dcm", "case/3.dcm"], {})
    assert unpacked(path) == contents


@pytest.mark.parametrize("data", [b"", b"PK", b"\x89PNG\r\n\x1a\n" + b"PK\x05\x06" + bytes(18)])
def test_what_does_not_start_like_an_archive_is_none(tmp_path, data):
    path = tmp_path / "sent"
    path.write_bytes(data)
    assert not ZipArchiveReader().is_archive(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_are_both_kept(make):
    path = make(("1.dcm", b"one"), ("1.dcm", b"two"))
    kept, _ = ZipArchiveReader().members(path)
    assert kept == [Member("1.dcm", 1), Member("1.dcm", 2)]
    assert unpacked(path) == [b"one", b"two"]


def test_what_is_no_image_is_skipped_with_its_kind(make):
    junk = {
        "a/.DS_Store": "system file",
        "__MACOSX/a/._1.dcm": "system file",
        "Thumbs.db": "system file",
        "DICOMDIR": "DICOM directory",
        "README": "text",
        "VIEW.EXE": "program",
    }
    path = make(("folder/", b""), *((name, b"x") for name in junk), ("folder/1.dcm", b"x"), ("IM1", b"\0\1"))
    kept, skipped = ZipArchiveReader().members(path)
    assert [member.name for member in kept] == ["folder/1.dcm", "IM1"]
    assert dict(skipped) == {name: Reason("not_an_image", kind) for name, kind in junk.items()}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.dcm", "etc/passwd.dcm"),
        ("/abs/olute.dcm", "abs/olute.dcm"),
        ("win\\dows\\..\\1.dcm", "win/dows/1.dcm"),
        ("a\r\nb\x1b[31m.dcm", "ab[31m.dcm"),
        ("röntgen/腕.dcm", "röntgen/腕.dcm"),
        ("x" * 1000 + ".dcm", "~32b446b6~" + "x" * 241 + ".dcm"),
    ],
)
def test_names_are_only_shown(make, name, shown):
    assert listing(make((zipfile.ZipInfo(name), b"x"))) == ([shown], {})


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"r\xc3\xb6nt.dcm", "rönt.dcm"),
        (b"r\x94nt.dcm", "rönt.dcm"),
        (b"R\xf6ntgen.dcm", "Röntgen.dcm"),
        ("右肘/1.dcm".encode("cp932"), "右肘/1.dcm"),
        # The second bytes of these letters are backslashes.
        ("表/表.dcm".encode("cp932"), "表/表.dcm"),
        ("許功蓋/陳美玲.dcm".encode("big5"), "許功蓋/陳美玲.dcm"),
        ("张伟/左手.dcm".encode("gbk"), "张伟/左手.dcm"),
        ("Иванов.dcm".encode("cp1251"), "%C8%E2%E0%ED%EE%E2.dcm"),
    ],
)
def test_names_without_the_flag(make, raw, shown):
    path = make(("X" * len(raw), b"x"), patch=lambda data: data.replace(b"X" * len(raw), raw))
    assert listing(path) == ([shown], {})


def test_names_help_each_other_to_be_decoded(make):
    names = ["张伟/左手正位.dcm".encode("gbk"), "喆.dcm".encode("gbk")]
    marks = ["X" * len(names[0]), "Y" * len(names[1])]

    def patch(data: bytes) -> bytes:
        for mark, name in zip(marks, names, strict=True):
            data = data.replace(mark.encode(), name)
        return data

    assert listing(make(*((mark, b"x") for mark in marks), patch=patch))[0] == ["张伟/左手正位.dcm", "喆.dcm"]


def test_a_unicode_path_beside_the_name_counts_if_it_is_of_this_name(make):
    def member(old: bytes, crc: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(old.decode())
        path = struct.pack("<BI", 1, crc) + "左手.dcm".encode()
        info.extra = struct.pack("<HH", 0x7075, len(path)) + path
        return info

    names = [(member(b"1.dcm", zlib.crc32(b"1.dcm")), b"x"), (member(b"2.dcm", 5), b"y")]
    assert listing(make(*names))[0] == ["左手.dcm", "2.dcm"]


def test_a_name_that_lies_about_utf8_costs_its_name_only(make):
    path = make(("ö___.dcm", b"x"), ("b.dcm", b"y"), patch=lambda data: data.replace("ö".encode(), b"\xff\xfe"))
    assert listing(path) == (["%FF%FE___.dcm", "b.dcm"], {})
    assert unpacked(path) == [b"x", b"y"]


def test_an_odd_extra_field_costs_nothing(make):
    info = zipfile.ZipInfo("1.dcm")
    info.extra = struct.pack("<HH", 0x5455, 200) + b"short"
    path = make((info, b"x"))
    assert unpacked(path) == [b"x"]


def test_links_are_not_followed(make):
    link = zipfile.ZipInfo("link.dcm")
    link.create_system, link.external_attr = 3, SYMLINK
    path = make((link, b"/etc/passwd"), ("1.dcm", b"x"))
    assert listing(path) == (["1.dcm"], {"link.dcm": "archive_member_skipped"})
    with pytest.raises(RejectedInput):
        ZipArchiveReader().extract(path, Member("link.dcm", 1), Bytes())


def test_encrypted_members(make):
    def set_flag(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[data.index(b"PK\x03\x04") + 6] |= 1
        changed[data.index(b"PK\x01\x02") + 8] |= 1
        return bytes(changed)

    path = make(("1.dcm", b"secret"), ("2.dcm", b"open"), patch=set_flag)
    assert listing(path) == (["2.dcm"], {"1.dcm": "archive_encrypted"})


def test_other_compressions_are_refused(make):
    path = make(("1.dcm", b"x" * 1000), method=zipfile.ZIP_LZMA)
    assert listing(path) == ([], {"1.dcm": "unsupported_encoding"})


def test_archives_inside_are_not_opened(make):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("1.dcm", b"x")
    assert listing(make(("inner.dcm", inner.getvalue()))) == ([], {"inner.dcm": "archive_nested"})
    assert listing(make(("viewer.jar", inner.getvalue()))) == ([], {"viewer.jar": "not_an_image"})


def test_too_many_members(make):
    path = make(*((f"{number}.dcm", b"") for number in range(20)))
    assert len(listing(path, ArchiveLimits(max_members=20))[0]) == 20
    assert reason(path, ArchiveLimits(max_members=19)) == "archive_too_many"
    assert reason(path, ArchiveLimits(max_directory_bytes=100)) == "archive_too_many"


def test_a_directory_that_hides_its_length(make):
    def claim_one(data: bytes) -> bytes:
        end = data.rindex(b"PK\x05\x06")
        return data[: end + 8] + struct.pack("<HH", 1, 1) + data[end + 12 :]

    path = make(*((f"{number}.dcm", b"") for number in range(20)), patch=claim_one)
    assert reason(path, ArchiveLimits(max_members=19)) == "archive_too_many"


def test_too_much_in_total_and_too_deep(make):
    path = make(("1.dcm", b"x" * 600), ("2.dcm", b"x" * 600))
    assert reason(path, ArchiveLimits(max_unpacked_bytes=1000)) == "archive_too_large"
    deep = make(("a/" * 40 + "1.dcm", b"x"))
    assert list(listing(deep)[1].values()) == ["archive_member_skipped"]


def test_bombs_are_left_out_by_their_ratio(make):
    path = make(("bomb.dcm", bytes(20_000_000)), ("1.dcm", b"x"))
    assert listing(path) == (["1.dcm"], {"bomb.dcm": "archive_too_large"})
    assert listing(path, ArchiveLimits(max_member_bytes=1000))[1] == {"bomb.dcm": "too_many_bytes"}


def test_a_bomb_that_lies_about_its_size_stops_at_the_lie(make):
    def lie(data: bytes) -> bytes:
        changed = bytearray(data)
        for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            at = data.index(mark) + offset
            changed[at : at + 4] = struct.pack("<I", 10)
        return bytes(changed)

    path = make(("bomb.dcm", bytes(20_000_000)), patch=lie)
    reader, sink = ZipArchiveReader(), Bytes()
    (member,) = reader.members(path)[0]
    with pytest.raises(RejectedInput) as caught:
        reader.extract(path, member, sink)
    assert caught.value.code == "damaged"
    assert len(sink.data) <= 10


def test_overlapping_members_are_refused(make):
    def overlap(data: bytes) -> bytes:
        first, second = all_at(data, b"PK\x01\x02")
        return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]

    assert reason(make(("1.dcm", b"x" * 50), ("2.dcm", b"y" * 50), patch=overlap)) == "damaged"


def test_one_damaged_member_costs_that_member(make):
    def damage(data: bytes) -> bytes:
        return data.replace(b"first", b"worst", 1)

    path = make(("1.dcm", b"first member"), ("2.dcm", b"second"), method=zipfile.ZIP_STORED, patch=damage)
    reader = ZipArchiveReader()
    one, two = reader.members(path)[0]
    with pytest.raises(RejectedInput) as caught:
        reader.extract(path, one, Bytes())
    assert caught.value.code == "damaged"
    sink = Bytes()
    reader.extract(path, two, sink)
    assert sink.data == b"second"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(make, part):
    path = make(("1.dcm", b"x" * 500), patch=lambda data: data[: int(len(data) * part)])
    assert reason(path) == "damaged"


def test_damage_anywhere_is_a_reason(make):
    import random

    dice = random.Random(7)
    good = make(*((f"case/{number}.dcm", bytes(range(256)) * 8) for number in range(4))).read_bytes()
    for _ in range(300):
        data = bytearray(good)
        for _ in range(4):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path = make(patch=lambda _, changed=bytes(data): changed)
        reader = ZipArchiveReader()
        try:
            members = reader.members(path)[0]
        except RejectedInput:
            continue
        for member in members:
            try:
                reader.extract(path, member, Bytes())
            except RejectedInput:
                continue


def test_zip64(make, tmp_path):
    path = tmp_path / "big.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("1.dcm", "w", force_zip64=True) as member:
        member.write(b"content")
    assert unpacked(path) == [b"content"]


def test_another_archive_at_the_same_path_is_read_anew(make):
    reader = ZipArchiveReader()
    assert [member.name for member in reader.members(make(("1.dcm", b"x")))[0]] == ["1.dcm"]
    assert [member.name for member in reader.members(make(("other.dcm", b"xyz")))[0]] == ["other.dcm"]


def test_no_such_member(make):
    path = make(("1.dcm", b"x"))
    for number in (0, 2, -1):
        with pytest.raises(RejectedInput):
            ZipArchiveReader().extract(path, Member("x", number), Bytes())


def test_a_member_without_a_name_is_a_member(make):
    """Found by fuzzing: the standard library fails on it when asked whether it is a folder."""
    path = make(("X", b"\1"), ("1.dcm", b"y"), patch=lambda data: data.replace(b"X", b"\0"))
    assert listing(path) == (["unnamed", "1.dcm"], {})


def test_a_zip64_offset_that_no_file_can_have(make):
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)

    def lie(data: bytes) -> bytes:
        at = data.index(b"PK\x01\x02")
        end = data.index(b"PK\x05\x06")
        entry = bytearray(data[at:end])
        entry[30:32] = struct.pack("<H", len(extra))
        entry[42:46] = b"\xff" * 4
        record = bytearray(data[end:])
        record[12:16] = struct.pack("<I", len(entry) + len(extra))
        return data[:at] + bytes(entry) + extra + bytes(record)

    assert reason(make(("1.dcm", b"x"), patch=lie)) == "damaged"
