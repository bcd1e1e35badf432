"""ZIP archives that swell, lie, lead out of their folder or hide something; each with an honest file where it can."""

from __future__ import annotations

import io
import itertools
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator

from fractureai.domain.names import safe_name
from tests.hostile.hostile import READ, Hostile
from tests.pictures import png

_HONEST = "honest.png"
_numbers = itertools.count(1000)

Member = tuple[str | zipfile.ZipInfo, bytes]


def picture() -> bytes:
    """An honest picture, no two alike."""
    return png(seed=next(_numbers))


def archive(*members: Member, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", honest: bool = True) -> bytes:
    """A ZIP of some members and, at the end, an honest one."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as file:
        warnings.simplefilter("ignore")  # duplicate names are what some are about
        for name, data in members:
            file.writestr(name, data)
        if honest:
            file.writestr(_HONEST, picture(), zipfile.ZIP_DEFLATED)
        file.comment = comment
    return stream.getvalue()


def beside(**expected: str) -> dict[str, str]:
    """The answers for members, the honest one's among them."""
    return {**expected, _HONEST: READ}


def patched(data: bytes, offset_local: int, offset_central: int, value: bytes, *, which: int = 0) -> bytes:
    """Change a field of one member in both of its headers; an offset below 0 leaves that header alone."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", offset_local), (b"PK\x01\x02", offset_central)):
        at = -1
        for _ in range(which + 1):
            at = data.index(mark, at + 1)
        if offset >= 0:
            changed[at + offset : at + offset + len(value)] = value
    return bytes(changed)


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    """A member with a Unix file mode."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def archive_files() -> Iterator[Hostile]:
    """All of them."""
    yield from _bombs()
    yield from _lies()
    yield from _names()
    yield from _kinds()
    yield from _broken()


def _bombs() -> Iterator[Hostile]:
    yield Hostile(
        "zip-flat-bomb.zip", archive(("bomb.dcm", bytes(20 << 20))), beside(**{"bomb.dcm": "archive_too_large"})
    )
    inner = archive(("bomb.dcm", bytes(1 << 20)), honest=False)
    nested = inner
    for _ in range(4):
        nested = archive((_HONEST, nested), honest=False)
    yield Hostile("zip-nested.zip", archive(("inner.zip", inner)), beside(**{"inner.zip": "archive_nested"}))
    yield Hostile("zip-nested-five-deep.zip", nested, {_HONEST: "archive_nested"})
    for name, magic in (
        ("7z", b"7z\xbc\xaf\x27\x1c"),
        ("rar", b"Rar!\x1a\x07"),
        ("gz", b"\x1f\x8b\x08"),
        ("xz", b"\xfd7zXZ\0"),
    ):
        data = archive((f"inner.{name}", magic + bytes(100)))
        yield Hostile(f"zip-with-{name}.zip", data, beside(**{f"inner.{name}": "archive_nested"}))
    yield Hostile("zip-overlapping.zip", _overlapping(), {"": "damaged"})
    yield Hostile("zip-same-bytes-many-names.zip", _shared(200), {"": "damaged"})
    yield Hostile("zip-many-members.zip", _many(20_001), {"": "archive_too_many"})


def _overlapping() -> bytes:
    """Fifield's trick: the second member's header lies within the first one's data."""
    data = archive(("1.dcm", b"x" * 50), ("2.dcm", b"y" * 50), honest=False)
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]


def _shared(count: int) -> bytes:
    data = archive(("1.dcm", b"x" * 50), honest=False)
    start, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entries = data[start:end] * count
    record = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)
    return data[:start] + entries + record


def _many(count: int) -> bytes:
    name = b"x"
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, number * len(local))
        + name
        for number in range(count)
    )
    record = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), len(local) * count, 0)
    return local * count + entries + record


def _lies() -> Iterator[Hostile]:
    small = struct.pack("<I", 10)
    yield Hostile(
        "zip-size-too-small.zip",
        patched(archive(("bomb.dcm", bytes(20 << 20))), 22, 24, small),
        beside(**{"bomb.dcm": "damaged"}),
    )
    yield Hostile(
        "zip-size-too-large.zip", patched(_one(), 22, 24, struct.pack("<I", 5000)), beside(**{"1.dcm": "damaged"})
    )
    yield Hostile(
        "zip-size-4-gib.zip", patched(_one(), 22, 24, b"\xfe\xff\xff\xff"), beside(**{"1.dcm": "too_many_bytes"})
    )
    yield Hostile("zip-checksum.zip", patched(_one(), 14, 16, b"\0\0\0\1"), beside(**{"1.dcm": "damaged"}))
    yield Hostile(
        "zip-local-header-differs.zip",
        patched(archive(("1.png", picture())), 30, -1, b"X.exe"),
        beside(**{"1.png": READ}),
    )
    headless = patched(archive(("a.png", picture()), ("1.dcm", b"some bytes")), 0, -1, b"XXXX", which=1)
    yield Hostile("zip-no-local-header.zip", headless, beside(**{"a.png": READ, "1.dcm": "damaged"}))
    yield Hostile("zip-64-size.zip", _zip64(size=1 << 60), {"": "archive_too_large"})
    yield Hostile("zip-64-packed.zip", _zip64(packed=1 << 60), {"1.dcm": "damaged"})
    yield Hostile("zip-64-offset.zip", _zip64(offset=2**64 - 1), {"1.dcm": "damaged"})
    for name, at, value, expected in (
        ("claims-one-member", 8, struct.pack("<HH", 1, 1), beside(**{"1.dcm": "unknown_type"})),
        ("claims-many-members", 8, struct.pack("<HH", 60_000, 60_000), {"": "archive_too_many"}),
        ("directory-size", 12, b"\xff\xff\xff\x7f", {"": "archive_too_many"}),
        ("directory-elsewhere", 16, b"\xff\xff\xff\x7f", {"": "damaged"}),
        ("many-disks", 4, struct.pack("<HH", 3, 3), beside(**{"1.dcm": "unknown_type"})),
    ):
        one = _one()
        end = one.rindex(b"PK\x05\x06")
        yield Hostile(f"zip-{name}.zip", one[: end + at] + value + one[end + at + len(value) :], expected)
    stray = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    two_ends = archive(("1.png", picture()), comment=b"x" * 40 + stray[:-2] + b"\xff\xff")
    yield Hostile("zip-two-directories.zip", two_ends, {"": "no_images"})


def _one() -> bytes:
    return archive(("1.dcm", b"some bytes %d" % next(_numbers)))


def _zip64(size: int | None = None, packed: int | None = None, offset: int | None = None) -> bytes:
    data = archive(("1.dcm", b"x" * 50), honest=False)
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, record = bytearray(data[start:end]), bytearray(data[end:])
    values = b""
    for value, at in ((size, 24), (packed, 20), (offset, 42)):
        if value is not None:
            entry[at : at + 4] = b"\xff" * 4
            values += struct.pack("<Q", value)
    extra = struct.pack("<HH", 1, len(values)) + values
    entry[30:32] = struct.pack("<H", len(extra))
    record[12:16] = struct.pack("<I", len(entry) + len(extra))
    return data[:start] + bytes(entry) + extra + bytes(record)


def _names() -> Iterator[Hostile]:
    shown = {
        "../../../etc/passwd.png": "etc/passwd.png",
        "/absolute/1.png": "absolute/1.png",
        "C:\\Windows\\System32\\1.png": "C:/Windows/System32/1.png",
        "\\\\server\\share\\1.png": "server/share/1.png",
        "NUL.png": "NUL.png",
        "COM1.png": "COM1.png",
        "a/../../b/./1.png": "a/b/1.png",
        "<script>alert(1)<.script>.png": "<script>alert(1)<.script>.png",
        "=1+1.png": "=1+1.png",
        "line\r\nbreak.png": "linebreak.png",
        "\u202egnp.exe.png": "gnp.exe.png",
        "röntgen/腕.png": "röntgen/腕.png",
    }
    data = archive(*((zipfile.ZipInfo(name), picture()) for name in shown))
    yield Hostile("zip-names.zip", data, beside(**dict.fromkeys(shown.values(), READ)))
    long = "L" * 65_000 + ".png"
    yield Hostile("zip-long-name.zip", archive((long, picture())), beside(**{safe_name(long): READ}))
    twice = archive(("1.png", picture()), ("1.png", picture()))
    yield Hostile("zip-duplicate-names.zip", twice, beside(**{"1.png": READ}))
    raw = archive(("XXXXX.png", picture())).replace(b"XXXXX", b"r\x94n\xff\xfe")
    yield Hostile("zip-not-utf8.zip", raw, beside(**{"r%94n%FF%FE.png": READ}))
    lying = archive(("öööö___.png", picture())).replace("öööö".encode(), b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe")
    yield Hostile("zip-utf8-flag-lies.zip", lying, beside(**{"%FF%FE" * 4 + "___.png": READ}))
    nul = archive(("aXb.png", picture())).replace(b"aXb.png", b"a\0b.png")
    yield Hostile("zip-nul-in-name.zip", nul, beside(**{"ab.png": READ}))
    nameless = archive(("X", picture())).replace(b"X", b"\0", 1)
    at = nameless.index(b"PK\x01\x02") + 46
    yield Hostile("zip-no-name.zip", nameless[:at] + b"\0" + nameless[at + 1 :], beside(unnamed=READ))
    deep = "/".join(["d"] * 40) + "/1.png"
    yield Hostile("zip-deep-folders.zip", archive((deep, picture())), beside(**{deep: "archive_member_skipped"}))


def _kinds() -> Iterator[Hostile]:
    modes = {"link": 0o120777, "device": 0o060666, "tty": 0o020666, "pipe": 0o010666, "socket": 0o140666}
    for name, mode in modes.items():
        data = archive((unix(f"{name}.dcm", mode), b"/etc/passwd"))
        yield Hostile(f"zip-{name}.zip", data, beside(**{f"{name}.dcm": "archive_member_skipped"}))
    yield Hostile("zip-encrypted.zip", patched(_one(), 6, 8, b"\x01"), beside(**{"1.dcm": "archive_encrypted"}))
    yield Hostile("zip-strong-encryption.zip", patched(_one(), 6, 8, b"\x41"), beside(**{"1.dcm": "archive_encrypted"}))
    for name, number in (("aes", 99), ("ppmd", 98), ("zstd", 93), ("unheard-of", 4242)):
        data = patched(_one(), 8, 10, struct.pack("<H", number))
        yield Hostile(f"zip-method-{name}.zip", data, beside(**{"1.dcm": "unsupported_encoding"}))
    for name, method in (("lzma", zipfile.ZIP_LZMA), ("bzip2", zipfile.ZIP_BZIP2)):
        data = archive(("1.dcm", b"x" * 500), method=method)
        yield Hostile(f"zip-method-{name}.zip", data, beside(**{"1.dcm": "unsupported_encoding"}))
    junk = ["__MACOSX/._1.dcm", ".DS_Store", "Thumbs.db", "DICOMDIR", "desktop.ini"]
    data = archive(*((name, b"x") for name in junk))
    yield Hostile("zip-junk.zip", data, beside(**dict.fromkeys(junk, "not_an_image")))
    others = {"setup.exe": b"MZ\x90\0" + bytes(200), "page.dcm": b"<html>"}
    data = archive(*others.items())
    wanted = {"setup.exe": "not_an_image", "page.dcm": "unknown_type"}
    yield Hostile("zip-with-others.zip", data, beside(**wanted))


def _broken() -> Iterator[Hostile]:
    whole = archive(("1.dcm", b"x" * 5000), method=zipfile.ZIP_STORED)
    yield Hostile("zip-cut.zip", whole[: len(whole) // 2], {"": "damaged"})
    yield Hostile("zip-only-magic.zip", b"PK\x03\x04", {"": "damaged"})
    yield Hostile("zip-empty.zip", b"PK\x05\x06" + bytes(18), {"": "no_images"})
    yield Hostile("zip-only-folders.zip", archive(("a/", b""), ("a/b/", b""), honest=False), {"": "no_images"})
    yield Hostile("zip-self-extracting.exe", b"MZ" + bytes(60) + whole, {"": "unknown_type"})
    garbage = zlib.compress(b"x" * 900)[2:-4]
    data = archive(("1.dcm", b"x" * 900)).replace(garbage, b"\xff" * len(garbage))
    yield Hostile("zip-deflate-garbage.zip", data, beside(**{"1.dcm": "damaged"}))
    yield Hostile("zip-comment.zip", archive(("1.png", picture()), comment=b"c" * 65_000), beside(**{"1.png": READ}))
