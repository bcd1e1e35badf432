"""DICOM files that lie, swell, break or hide something."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from tests.hostile.hostile import READ, Hostile
from tests.hostile.texts import TEXTS
from tests.pictures import bone

_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"SQ", b"UN", b"UT", b"UC", b"UR"})
_EXPLICIT = "1.2.840.10008.1.2.1"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG, _JPEG_LS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80"
_JPEG_2000, _RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
_ENDLESS = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_HEIGHT, _WIDTH = 120, 90

# Sequences in sequences, which pydicom 3.0 writes as text in a time that doubles with each.
_NEVER_TOLD = b"SQ\4\0" * 171 + b"SQ"

Elements = Mapping[int, tuple[bytes, bytes]]
_numbers = itertools.count(1)


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One explicit VR little endian element, whose length may be a lie."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    return head + (struct.pack("<HI", 0, size) if vr in _LONG else struct.pack("<H", size & 0xFFFF)) + value


def item(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An item or the end of one."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def text(value: str | bytes) -> bytes:
    """Padded to even length."""
    raw = value if isinstance(value, bytes) else value.encode()
    return raw + b" " * (len(raw) % 2)


def short(value: int) -> bytes:
    """A US."""
    return struct.pack("<H", value)


def honest() -> dict[int, tuple[bytes, bytes]]:
    """The elements of a small radiograph, an examination of its own."""
    uid = f"1.2.826.0.1.3680043.10.7.{next(_numbers)}"
    return {
        0x00080016: (b"UI", text("1.2.840.10008.5.1.4.1.1.1.1")),
        0x00080018: (b"UI", text(f"{uid}.1")),
        0x00080060: (b"CS", text("DX")),
        0x00100010: (b"PN", text("Doe^Jane")),
        0x0020000D: (b"UI", text(uid)),
        0x00280002: (b"US", short(1)),
        0x00280004: (b"CS", text("MONOCHROME2")),
        0x00280010: (b"US", short(_HEIGHT)),
        0x00280011: (b"US", short(_WIDTH)),
        0x00280100: (b"US", short(8)),
        0x00280101: (b"US", short(8)),
        0x00280102: (b"US", short(7)),
        0x00280103: (b"US", short(0)),
        0x7FE00010: (b"OB", bone(_HEIGHT, _WIDTH, seed=next(_numbers)).tobytes()),
    }


def body(changes: Elements | None = None, *, without: tuple[int, ...] = ()) -> bytes:
    """An honest data set with changes."""
    elements = {tag: found for tag, found in (honest() | dict(changes or {})).items() if tag not in without}
    return b"".join(element(tag, *elements[tag]) for tag in sorted(elements))


def part10(dataset: bytes, syntax: str = _EXPLICIT, preamble: bytes = bytes(128)) -> bytes:
    """A file of a data set."""
    meta = element(0x00020010, b"UI", text(syntax))
    return preamble + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta + dataset


def changed(changes: Elements | None = None, syntax: str = _EXPLICIT, *, without: tuple[int, ...] = ()) -> bytes:
    """A file of an honest data set with changes."""
    return part10(body(changes, without=without), syntax)


def encapsulated(*fragments: bytes, end: bool = True, table: bytes = b"") -> tuple[bytes, bytes]:
    """The value of encapsulated pixel data, without a length; see :func:`compressed`."""
    items = item(_ITEM, table) + b"".join(item(_ITEM, fragment) for fragment in fragments)
    return b"OB", items + (item(_SEQUENCE_END, b"") if end else b"")


def compressed(pixels: bytes, syntax: str, changes: Elements | None = None) -> bytes:
    """A file with encapsulated pixel data."""
    dataset = body(changes, without=(0x7FE00010,)) + element(0x7FE00010, b"OB", pixels, _ENDLESS)
    return part10(dataset, syntax)


def dicom_files() -> Iterator[Hostile]:
    """All of them."""
    yield from _swelling()
    yield from _structure()
    yield from _pixels()
    yield from _codestreams()
    yield from _tables()
    yield from _other_objects()
    yield from _words()


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def deflated_zeros(size_bytes: int) -> bytes:
    """So many zeros (whole MiB) as a raw deflate stream; its blocks are alike, so one is made and repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size_bytes >> 20) + packer.flush()


def deflate_bomb(size_bytes: int) -> bytes:
    """A deflated data set that inflates to so many zero bytes."""
    return part10(deflated_zeros(size_bytes), _DEFLATED)


def _swelling() -> Iterator[Hostile]:
    yield Hostile("dicom-deflate-bomb.dcm", deflate_bomb(300 << 20), "too_many_bytes")
    yield Hostile("dicom-deflate-honest.dcm", part10(_deflated(body()), _DEFLATED), READ)
    yield Hostile("dicom-deflate-cut.dcm", part10(_deflated(body())[:-200], _DEFLATED), "damaged")
    yield Hostile("dicom-deflate-garbage.dcm", part10(b"\xff" * 400, _DEFLATED), "damaged")
    frames = {"million": b"1000000", "two": b"2 ", "minus": b"-5", "words": b"many", "huge": b"9" * 12}
    for name, count in frames.items():
        code = {"minus": "damaged", "words": "damaged"}.get(name, "multi_frame")
        yield Hostile(f"dicom-frames-{name}.dcm", changed({0x00280008: (b"IS", count)}), code)
    flood = {0x00280010: (b"US", short(65535)), 0x00280011: (b"US", short(65535))}
    yield Hostile("dicom-pixel-flood.dcm", changed(flood), "too_many_pixels")
    yield Hostile("dicom-pixel-flood-2.dcm", changed(flood | {0x00280008: (b"IS", b"65535 ")}), "multi_frame")
    yield Hostile("dicom-no-rows.dcm", changed({0x00280010: (b"US", short(0))}), "too_small")
    yield Hostile("dicom-one-row.dcm", changed({0x00280010: (b"US", short(1))}), "too_small")


def _structure() -> Iterator[Hostile]:
    cut_here = body(without=(0x7FE00010,))
    giant = element(0x00420011, b"OB", b"few", 0x7FFFFFFE)
    yield Hostile("dicom-giant-element.dcm", part10(cut_here + giant), "no_pixels")
    yield Hostile("dicom-giant-private.dcm", part10(element(0x00090010, b"UN", b"x", 0xFFFFFFFE)), "no_pixels")
    nested = element(0x00081140, b"SQ", b"", _ENDLESS) + item(_ITEM, b"", _ENDLESS)
    yield Hostile("dicom-endless-sequence.dcm", part10(nested), "damaged")
    yield Hostile("dicom-deep-sequence.dcm", part10(nested * 20_000), "damaged")
    deep = b""
    for _ in range(400):
        deep = element(0x00081140, b"SQ", item(_ITEM, deep, None), None)
    yield Hostile("dicom-sequence-400-deep.dcm", part10(deep + body()), READ)
    for name, tag, code in (
        ("meta", 0x00020000, "damaged"),
        ("characters", 0x00080005, "damaged"),
        ("class", 0x00080016, READ),
        ("modality", 0x00080060, READ),
        ("patient", 0x00100020, READ),
        ("body-part", 0x00180015, READ),
        ("study", 0x0020000D, READ),
        ("colours", 0x00280004, "damaged"),
    ):
        told = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + _NEVER_TOLD
        file = bytes(128) + b"DICM" + told if tag >> 16 == 2 else changed({tag: (b"SQ", _NEVER_TOLD[2:])})
        yield Hostile(f"dicom-{name}-never-told.dcm", file, code)
    many = element(0x00081140, b"SQ", item(_ITEM, b"") * 60_000)
    yield Hostile("dicom-sixty-thousand-items.dcm", part10(many + body()), READ)
    flat = b"".join(element(0x00091000 + number % 256, b"LO", b"x ") for number in range(60_000))
    yield Hostile("dicom-sixty-thousand-elements.dcm", part10(flat + body()), READ)
    unknown = element(0x00091010, b"UN", item(_ITEM, b"", _ENDLESS) * 2000, _ENDLESS)
    yield Hostile("dicom-unknown-length-nested.dcm", part10(unknown), "damaged")
    yield Hostile("dicom-sequence-end-first.dcm", part10(item(_SEQUENCE_END, b"") * 50), "no_pixels")
    yield Hostile("dicom-item-without-sequence.dcm", part10(item(_ITEM_END, b"") + body()), READ)
    yield Hostile("dicom-private-creators.dcm", part10(body(_private())), READ)
    yield Hostile("dicom-private-without-creator.dcm", changed({0x00131001: (b"SQ", b"")}), READ)
    yield Hostile("dicom-only-preamble.dcm", bytes(128) + b"DICM", "damaged")
    yield Hostile("dicom-garbage.dcm", bytes(128) + b"DICM" + b"\xa5" * 5000, "no_pixels")
    yield Hostile(
        "dicom-meta-without-end.dcm", bytes(128) + b"DICM" + element(0x00020010, b"UI", b"1", 60000), "damaged"
    )
    yield Hostile("dicom-backwards.dcm", part10(_backwards()), READ)
    yield Hostile("dicom-twice-rows.dcm", part10(element(0x00280010, b"US", short(9)) + body()), READ)
    for name, head in (
        ("exe", b"MZ\x90\0"),
        ("elf", b"\x7fELF"),
        ("script", b"#!/bin/sh\nrm -rf /\n"),
        ("html", b"<html>"),
    ):
        yield Hostile(f"dicom-preamble-{name}.dcm", part10(body(), preamble=head.ljust(128, b"\0")), READ)
    yield Hostile("dicom-no-preamble.dcm", body(), READ)
    for name, syntax in (
        ("unknown", "1.2.3.4"),
        ("video", "1.2.840.10008.1.2.4.102"),
        ("traversal", "../../etc/passwd"),
    ):
        yield Hostile(
            f"dicom-syntax-{name}.dcm", compressed(encapsulated(b"\0" * 64)[1], syntax), "unsupported_encoding"
        )


def _private() -> Elements:
    return {
        0x00090010: (b"LO", text("<script>alert(1)</script>")),
        0x00091001: (b"UN", b"\0\xff" * 50),
        0x00110010: (b"UT", b"a" * 70_000),
        0x7FE10010: (b"LO", text("../../../etc")),
        0x7FE11010: (b"OB", b"\x7fELF" * 10),
    }


def _backwards() -> bytes:
    elements = honest()
    return b"".join(element(tag, *elements[tag]) for tag in sorted(elements, reverse=True))


def _pixels() -> Iterator[Hostile]:
    full = bone(_HEIGHT, _WIDTH).tobytes()
    yield Hostile("dicom-pixels-short.dcm", changed({0x7FE00010: (b"OB", full[:-1000])}), "damaged")
    yield Hostile("dicom-pixels-long.dcm", changed({0x7FE00010: (b"OB", full + b"\0" * 5000)}), READ)
    yield Hostile("dicom-pixels-empty.dcm", changed({0x7FE00010: (b"OB", b"")}), "no_pixels")
    lies: tuple[tuple[str, int, bytes, str], ...] = (
        ("stored-over-allocated", 0x00280101, short(17), "damaged"),
        ("stored-none", 0x00280101, short(0), "damaged"),
        ("high-bit", 0x00280102, short(60000), "damaged"),
        ("allocated-7", 0x00280100, short(7), "unsupported_encoding"),
        ("allocated-64", 0x00280100, short(64), "unsupported_encoding"),
        ("allocated-none", 0x00280100, short(0), "unsupported_encoding"),
        ("sign", 0x00280103, short(7), "damaged"),
        ("samples-none", 0x00280002, short(0), "damaged"),
        ("samples-many", 0x00280002, short(60000), "damaged"),
        ("samples-three", 0x00280002, short(3), "damaged"),
    )
    for name, tag, value, code in lies:
        yield Hostile(f"dicom-bits-{name}.dcm", changed({tag: (b"US", value)}), code)
    sixteen = {0x00280100: (b"US", short(16)), 0x00280101: (b"US", short(16)), 0x00280102: (b"US", short(15))}
    yield Hostile("dicom-bits-sixteen-of-eight.dcm", changed(sixteen), "damaged")
    yield Hostile("dicom-colour-unknown.dcm", changed({0x00280004: (b"CS", text("XYZ"))}), "damaged")
    yield Hostile("dicom-palette-without-table.dcm", changed({0x00280004: (b"CS", text("PALETTE COLOR"))}), "damaged")
    vrs: tuple[tuple[str, int, bytes, bytes, str], ...] = (
        ("rows-words", 0x00280010, b"LO", text("many"), "damaged"),
        ("rows-float", 0x00280010, b"FD", struct.pack("<d", float("nan")), "damaged"),
        ("rows-sequence", 0x00280010, b"SQ", b"", "damaged"),
        ("rows-two", 0x00280010, b"US", short(120) * 2, "damaged"),
        ("rows-one-byte", 0x00280010, b"US", b"\x01", "damaged"),
        ("pixels-as-text", 0x7FE00010, b"UT", full, "damaged"),
        ("pixels-as-sequence", 0x7FE00010, b"SQ", b"", "no_pixels"),
        ("name-as-number", 0x00100010, b"FD", struct.pack("<d", float("inf")), READ),
        ("name-as-sequence", 0x00100010, b"SQ", item(_ITEM, b""), READ),
        ("vr-unheard-of", 0x00100010, b"ZZ", b"Doe^", READ),
        ("class-as-number", 0x00080016, b"US", short(1), "not_a_radiograph"),
    )
    for name, tag, vr, value, code in vrs:
        yield Hostile(f"dicom-vr-{name}.dcm", changed({tag: (vr, value)}), code)


def _codestreams() -> Iterator[Hostile]:
    def jpeg_flood(marker: int) -> bytes:
        frame = struct.pack(">HBHHBBBB", 11, 8, 65500, 65500, 1, 1, 0x11, 0)
        scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0)
        return b"\xff\xd8\xff" + bytes([marker]) + frame + scan + b"\0" * 200 + b"\xff\xd9"

    def j2k_flood() -> bytes:
        size = struct.pack(">HIIIIIIIIH", 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1) + bytes([7, 1, 1])
        cod = b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 0, 1, 0, 0, 4, 4, 0, 1)
        qcd = b"\xff\x5c" + struct.pack(">HBB", 4, 0x40, 0x40)
        tile = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1) + b"\xff\x93" + b"\0" * 100 + b"\xff\xd9"
        return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + cod + qcd + tile

    segments = struct.pack("<16I", 15, *[0xFFFFFFF0] * 15)
    broken = {
        "jpeg-flood": (encapsulated(jpeg_flood(0xC0)), _JPEG),
        "jpegls-flood": (encapsulated(jpeg_flood(0xF7)), _JPEG_LS),
        "jpeg2000-flood": (encapsulated(j2k_flood()), _JPEG_2000),
        "jpeg-torn-flood": (encapsulated(jpeg_flood(0xC0)[:6], jpeg_flood(0xC0)[6:]), _JPEG),
        "jpeg-garbage": (encapsulated(b"\xff\xd8" + b"\x5a" * 500), _JPEG),
        "jpeg2000-garbage": (encapsulated(b"\xff\x4f" + b"\x5a" * 500), _JPEG_2000),
        "jpeg2000-box-without-length": (encapsulated(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500)), _JPEG_2000),
        "jpegls-garbage": (encapsulated(b"\xff\xd8\xff\xf7" + b"\x5a" * 500), _JPEG_LS),
        "rle-segments": (encapsulated(segments + b"\0" * 100), _RLE),
        "rle-bomb": (encapsulated(struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\xff" * 200_000), _RLE),
        "no-fragments": (encapsulated(), _JPEG),
        "empty-fragments": (encapsulated(b"", b"", b""), _JPEG),
        "table-lies": (encapsulated(b"\xff\xd8" + bytes(50), table=struct.pack("<4I", 0, 9, 4, 0xFFFFFFF0)), _JPEG),
    }
    for name, ((_, pixels), syntax) in broken.items():
        code = {"rle-bomb": "blank_image"}.get(name, "too_many_pixels" if name.endswith("-flood") else "damaged")
        yield Hostile(f"dicom-{name}.dcm", compressed(pixels, syntax), code)
    no_end = encapsulated(b"\xff\xd8" + bytes(50), end=False)[1]
    yield Hostile("dicom-fragments-without-end.dcm", compressed(no_end, _JPEG), "damaged")
    lying = item(_ITEM, b"") + item(_ITEM, b"few", 0x7FFFFFF0)
    yield Hostile("dicom-fragment-length-lies.dcm", compressed(lying, _JPEG), "damaged")


def _tables() -> Iterator[Hostile]:
    def lut(descriptor: tuple[int, int, int], data: bytes) -> bytes:
        inner = element(0x00283002, b"US", struct.pack("<HHH", *descriptor)) + element(0x00283006, b"OW", data)
        return item(_ITEM, inner)

    yield Hostile("dicom-lut-empty.dcm", changed({0x00283010: (b"SQ", lut((0, 0, 16), b""))}), "damaged")
    yield Hostile("dicom-lut-short.dcm", changed({0x00283010: (b"SQ", lut((65535, 0, 16), b"\1\0" * 4))}), READ)
    yield Hostile("dicom-lut-item-empty.dcm", changed({0x00283010: (b"SQ", item(_ITEM, b""))}), "damaged")
    yield Hostile("dicom-lut-of-zeros.dcm", changed({0x00283010: (b"SQ", lut((256, 0, 16), bytes(512)))}), READ)
    numbers: tuple[tuple[str, Elements], ...] = (
        ("slope-nan", {0x00281053: (b"DS", b"nan ")}),
        ("slope-zero", {0x00281053: (b"DS", b"0 ")}),
        ("slope-huge", {0x00281053: (b"DS", b"1e308 "), 0x00281052: (b"DS", b"-1e308")}),
        ("window-zero", {0x00281050: (b"DS", b"0 "), 0x00281051: (b"DS", b"0 ")}),
        ("window-huge", {0x00281050: (b"DS", b"1e300 "), 0x00281051: (b"DS", b"1e-300")}),
        ("window-words", {0x00281050: (b"DS", text("<b>")), 0x00281051: (b"DS", text("=1+1"))}),
        ("spacing-lies", {0x00181164: (b"DS", text("-1\\inf")), 0x00280030: (b"DS", text("1e999\\0"))}),
        ("padding-all", {0x00280120: (b"US", short(0)), 0x00280121: (b"US", short(255))}),
        ("overlay-lies", {0x60000010: (b"US", short(65535)), 0x60003000: (b"OW", b"\1\0")}),
        ("icon-bomb", {0x00880200: (b"SQ", item(_ITEM, element(0x00280010, b"US", short(65535))))}),
    )
    for name, changes in numbers:
        yield Hostile(f"dicom-{name}.dcm", changed(changes), "blank_image" if name == "padding-all" else READ)


def _other_objects() -> Iterator[Hostile]:
    def kind(uid: str, modality: str) -> Elements:
        return {0x00080016: (b"UI", text(uid)), 0x00080060: (b"CS", text(modality))}

    reference = item(_ITEM, element(0x00041500, b"CS", text("..\\..\\..\\etc\\passwd")))
    index = element(0x00080016, b"UI", text("1.2.840.10008.1.3.10")) + element(0x00041220, b"SQ", reference)
    # Elements must ascend; a directory has group 4 before group 8.
    yield Hostile("dicom-directory-leads-out.dcm", part10(index), "dicom_directory")
    url = {
        0x00081190: (b"UR", text("http://169.254.169.254/latest/meta-data")),
        0x00041500: (b"CS", text("..\\..\\ETC")),
    }
    yield Hostile("dicom-references-outside.dcm", changed(url), READ)
    ct = kind("1.2.840.10008.5.1.4.1.1.2", "CT")
    yield Hostile("dicom-ct.dcm", changed(ct), "not_a_radiograph")
    report = kind("1.2.840.10008.5.1.4.1.1.88.11", "SR")
    gone = (0x7FE00010, 0x00280010, 0x00280011)
    yield Hostile("dicom-report.dcm", changed(report, without=gone), "no_pixels")
    pdf = kind("1.2.840.10008.5.1.4.1.1.104.1", "DOC") | {0x00420011: (b"OB", b"%PDF-1.7 ")}
    yield Hostile("dicom-with-pdf.dcm", changed(pdf, without=gone), "no_pixels")
    blank = np.full((_HEIGHT, _WIDTH), 77, np.uint8).tobytes()
    yield Hostile("dicom-blank.dcm", changed({0x7FE00010: (b"OB", blank)}), "blank_image")


def _words() -> Iterator[Hostile]:
    for name, words in TEXTS.items():
        value = text(words.encode("utf-8", "surrogatepass"))
        changes = {
            0x00080005: (b"CS", text("ISO_IR 192")),
            0x00080050: (b"SH", value[:60_000]),
            0x00080080: (b"LO", value[:60_000]),
            0x00081030: (b"LO", value[:60_000]),
            0x00100010: (b"PN", value[:60_000]),
            0x00100020: (b"LO", value[:60_000]),
            0x00180015: (b"CS", value[:60_000]),
        }
        yield Hostile(f"dicom-text-{name}.dcm", changed(changes), READ)
    for name, charset in (
        ("unknown", "ISO_IR 999"),
        ("many", "\\".join(["ISO 2022 IR 87"] * 300)),
        ("path", "../../x"),
    ):
        changes = {0x00080005: (b"CS", text(charset)), 0x00100010: (b"PN", b"\x1b$B\x1b(J\xff\xfe^\x1b")}
        yield Hostile(f"dicom-charset-{name}.dcm", changed(changes), READ)
    uid = {0x0020000D: (b"UI", text("../../../../etc/passwd")), 0x00080018: (b"UI", b"1." * 20_000)}
    yield Hostile("dicom-uid-traversal.dcm", changed(uid), READ)
