"""Pictures that swell, lie or pretend to be something else, and things that pretend to be pictures."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.archive_files import archive
from tests.hostile.dicom_files import deflated_zeros
from tests.hostile.hostile import READ, Hostile
from tests.pictures import bone, png

_numbers = itertools.count(5000)
_PNG = b"\x89PNG\r\n\x1a\n"
_MIB = 1 << 20


def saved(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    """An honest picture in a format."""
    stream = io.BytesIO()
    (picture or grey()).save(stream, kind, **options)
    return stream.getvalue()


def grey() -> Image.Image:
    """An honest picture, no two alike."""
    return Image.fromarray(bone(120, 96, seed=next(_numbers)))


def chunk(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    """A chunk of a PNG, whose length may be a lie."""
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes, *more: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with these extents, image data and further chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return _PNG + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def packed_zeros(size_bytes: int) -> bytes:
    """So many zeros (whole MiB) as a zlib stream; their Adler-32 is their number above a one."""
    return b"\x78\x9c" + deflated_zeros(size_bytes) + struct.pack(">HH", size_bytes % 65521, 1)


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """An honest PNG with one chunk more after its header."""
    honest = png(seed=next(_numbers))
    return honest[:33] + chunk(kind, data) + honest[33:]


def picture_files() -> Iterator[Hostile]:
    """All of them."""
    yield from _floods()
    yield from _ancillary()
    yield from _cut()
    yield from _tiffs()
    yield from _several()
    yield from _oddities()
    yield from _polyglots()
    yield from _pretenders()


def _floods() -> Iterator[Hostile]:
    yield Hostile("png-flood.png", png_of(20_000, 20_000, packed_zeros(_MIB)), "too_many_pixels")
    yield Hostile("png-flood-rgba.png", png_of(13_000, 13_000, packed_zeros(_MIB), colour=6), "too_many_pixels")
    yield Hostile("png-largest.png", png_of(0x7FFFFFFF, 0x7FFFFFFF, b""), "too_many_pixels")
    yield Hostile("png-negative.png", png_of(0xFFFFFFFF, 0xFFFFFFFF, b""), "too_many_pixels")
    yield Hostile("png-no-extent.png", png_of(0, 0, b""), "damaged")
    yield Hostile("png-thin.png", png_of(1, 30_000_000, packed_zeros(_MIB)), "too_small")
    yield Hostile("png-long-strip.png", saved("PNG", Image.fromarray(bone(20_000, 40))), READ)
    # More image data than the extent holds: what is too much must not be kept.
    yield Hostile("png-data-bomb.png", png_of(64, 64, packed_zeros(200 * _MIB)), "blank_image")
    jpeg = saved("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield Hostile("jpeg-flood.jpg", jpeg[:at] + struct.pack(">HH", 65500, 65500) + jpeg[at + 4 :], "too_many_pixels")
    yield Hostile("jpeg-no-extent.jpg", jpeg[:at] + struct.pack(">HH", 0, 0) + jpeg[at + 4 :], "damaged")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([0, 0, 0, 0]) + b"\xff\xff\x3f" * 2
    webp = b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended
    yield Hostile("webp-flood.webp", webp, "too_many_pixels")
    large = saved("WEBP", Image.new("L", (6400, 6400), 3), lossless=True, method=0, quality=0)
    yield Hostile("webp-flood-true.webp", large, "too_many_pixels")
    yield Hostile("gif-flood.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";", "unknown_type")
    yield Hostile("tiff-flood.tif", tiff({256: 4_000_000_000, 257: 4_000_000_000}), "too_many_pixels")
    yield Hostile("tiff-flood-true.tif", tiff({256: 60_000, 257: 60_000}), "too_many_pixels")


def _ancillary() -> Iterator[Hostile]:
    # What holds no pixels does not reach the decoder.
    bomb = packed_zeros(300 * _MIB)
    yield Hostile("png-profile-bomb.png", with_chunk(b"iCCP", b"p\0\0" + bomb), READ)
    yield Hostile("png-text-bomb.png", with_chunk(b"zTXt", b"k\0\0" + bomb), READ)
    yield Hostile("png-international-text-bomb.png", with_chunk(b"iTXt", b"k\0\1\0\0\0" + bomb), READ)
    many = b"".join(chunk(b"tEXt", b"k%d\0v" % number) for number in range(20_000))
    honest = png(seed=next(_numbers))
    yield Hostile("png-many-chunks.png", honest[:33] + many + honest[33:], READ)
    lying = struct.pack(">I", 0x7FFFFFFF) + b"teSt"
    yield Hostile("png-chunk-length.png", honest[:33] + lying + honest[33:], "damaged")
    yield Hostile("png-checksum.png", honest[:29] + b"\0\0\0\0" + honest[33:], "damaged")
    yield Hostile("jpeg-comments.jpg", _jpeg_with(b"\xff\xfe" + struct.pack(">H", 65_535) + bytes(65_533), 60), READ)


def _jpeg_with(segment: bytes, times: int) -> bytes:
    jpeg = saved("JPEG")
    return jpeg[:2] + segment * times + jpeg[2:]


def _cut() -> Iterator[Hostile]:
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("WEBP", "webp")):
        data = saved(kind)
        yield Hostile(f"{suffix}-cut.{suffix}", data[: len(data) * 2 // 3], "damaged")
        yield Hostile(f"{suffix}-cut-early.{suffix}", data[:24], "damaged")
        garbled = data[:40] + b"\xa5" * (len(data) - 40)
        yield Hostile(f"{suffix}-garbage.{suffix}", garbled, "damaged")


def tiff(changes: dict[int, int], *, next_at: int = 0, pages: int = 1) -> bytes:
    """A little-endian TIFF of ``pages`` directories that share the pixels of a small picture."""
    pixels = bone(120, 96, seed=next(_numbers)).tobytes()
    tags = {256: 96, 257: 120, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 120, 279: len(pixels)} | changes
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    size = 2 + len(entries) + 4
    first = 8 + len(pixels)
    directories = b""
    for page in range(pages):
        following = first + (page + 1) * size if page + 1 < pages else next_at
        directories += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", first) + pixels + directories


def _tiffs() -> Iterator[Hostile]:
    first = 8 + 120 * 96
    yield Hostile("tiff-honest.tif", tiff({}), READ)
    yield Hostile("tiff-loop.tif", tiff({}, next_at=first), READ)
    yield Hostile("tiff-thousands-of-pages.tif", tiff({}, pages=5000), "multi_frame")
    yield Hostile("tiff-strip-outside.tif", tiff({273: 0xFFFFFF00}), "damaged")
    yield Hostile("tiff-strip-length.tif", tiff({279: 0xFFFFFF00}), READ)
    yield Hostile("tiff-samples.tif", tiff({277: 60_000}), "unsupported_encoding")
    yield Hostile("tiff-bits.tif", tiff({258: 77}), "unsupported_encoding")
    yield Hostile("tiff-compression.tif", tiff({259: 34_712}), "unsupported_encoding")
    yield Hostile("tiff-rows-per-strip.tif", tiff({278: 0}), "damaged")
    yield Hostile("tiff-no-directory.tif", b"II*\0" + b"\xff\xff\xff\x7f", "damaged")
    giant = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIII", 1, 256, 4, 0xFFFFFFFF, 8, 0)
    yield Hostile("tiff-giant-count.tif", giant, "damaged")
    big = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", 2**63) + bytes(64)
    yield Hostile("tiff-big-count.tif", big, "damaged")
    tiles = tiff({322: 0x40000000, 323: 0x40000000, 324: 8, 325: 11520})
    yield Hostile("tiff-tiles.tif", tiles, READ)


def _several() -> Iterator[Hostile]:
    more = {"save_all": True, "append_images": [grey().rotate(180)]}
    yield Hostile("png-animated.png", saved("PNG", **more), "multi_frame")
    yield Hostile("webp-animated.webp", saved("WEBP", **more), "multi_frame")
    yield Hostile("tiff-two-pages.tif", saved("TIFF", **more), "multi_frame")
    yield Hostile("gif-animated.gif", saved("GIF", **more), "unknown_type")
    control = struct.pack(">II", 0xFFFFFFFF, 0)
    yield Hostile("png-animation-lies.png", with_chunk(b"acTL", control), READ)


def _oddities() -> Iterator[Hostile]:
    for number in (6, 99):
        exif = Image.Exif()
        exif[0x0112] = number
        yield Hostile(f"jpeg-orientation-{number}.jpg", saved("JPEG", exif=exif), READ)
    loop = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    yield Hostile("jpeg-exif-loop.jpg", _jpeg_with(b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop, 1), READ)
    yield Hostile("jpeg-exif-garbage.jpg", saved("JPEG", exif=b"Exif\0\0" + b"\xa5" * 400), READ)
    yield Hostile("jpeg-profile-garbage.jpg", saved("JPEG", icc_profile=b"\xa5" * 200_000), READ)
    yield Hostile("png-profile-garbage.png", saved("PNG", icc_profile=b"\xa5" * 200_000), READ)
    rainbow = np.random.default_rng(1).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    yield Hostile("photo.jpg", saved("JPEG", Image.fromarray(rainbow)), "colour_image")
    yield Hostile("cmyk.jpg", saved("JPEG", grey().convert("CMYK")), "colour_image")
    yield Hostile("blank.png", saved("PNG", Image.new("L", (200, 200), 9)), "blank_image")
    yield Hostile("one-pixel.png", saved("PNG", Image.new("L", (1, 1))), "too_small")
    yield Hostile("palette.png", saved("PNG", grey().convert("P"), transparency=0), READ)
    nothing = np.full((100, 100), np.nan, np.float32)
    yield Hostile("tiff-not-a-number.tif", saved("TIFF", Image.fromarray(nothing)), "blank_image")
    endless = np.linspace(-1, 1, 10_000, dtype=np.float32).reshape(100, 100).copy()
    endless[0, 0] = np.inf
    yield Hostile("tiff-infinite.tif", saved("TIFF", Image.fromarray(endless)), "blank_image")
    widest = (np.linspace(-1, 1, 10_000) * (2**31 - 1)).astype(np.int32).reshape(100, 100)
    yield Hostile("tiff-widest-integers.tif", saved("TIFF", Image.fromarray(widest)), READ)


def _polyglots() -> Iterator[Hostile]:
    zipped = archive(("1.txt", b"x"), honest=False)
    yield Hostile("jpeg-and-zip.jpg", saved("JPEG") + zipped, READ)
    yield Hostile("png-and-zip.zip", saved("PNG") + zipped, READ)
    yield Hostile("png-and-html.html", saved("PNG") + b"<html><script>alert(1)</script>", READ)
    yield Hostile("png-and-php.php", with_chunk(b"tEXt", b"c\0<?php system($_GET[1]); ?>"), READ)
    yield Hostile("jpeg-named-dicom.dcm", saved("JPEG"), READ)
    yield Hostile("pdf-and-jpeg.jpg", b"%PDF-1.7\n" + saved("JPEG"), "unknown_type")
    yield Hostile("gif-and-script.gif", b"GIF89a=1;alert(1)//" + bytes(40), "unknown_type")
    yield Hostile("tiff-in-preamble.dcm", tiff({})[:128].ljust(128, b"\0") + b"DICM" + bytes(10), "no_pixels")


def _pretenders() -> Iterator[Hostile]:
    laughs = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;&b;&b;">]><svg>&c;</svg>'
    files = {
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "billion-laughs.svg": laughs,
        "page.jpg": b"<!DOCTYPE html><script>alert(1)</script>",
        "program.png": b"MZ\x90\0\x03" + bytes(300),
        "program.dcm": b"\x7fELF\x02\x01\x01" + bytes(300),
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n(%pipe%id) (w) file\n",
        "document.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "bitmap.bmp": saved("BMP"),
        "icon.ico": b"\0\0\1\0\1\0" + bytes(60),
        "photoshop.psd": b"8BPS\0\1" + bytes(60),
        "video.mp4": b"\0\0\0\x18ftypmp42" + bytes(60),
        "jpeg2000.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
        "packed.gz": b"\x1f\x8b\x08" + bytes(60),
        "packed.7z": b"7z\xbc\xaf\x27\x1c" + bytes(60),
        "packed.tar": b"1.dcm".ljust(257, b"\0") + b"ustar\0" + bytes(249),
        "office.doc": b"\xd0\xcf\x11\xe0" + bytes(600),
        "pickle.dcm": b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR.",
        "numpy.npy": b"\x93NUMPY\x01\0" + bytes(120),
        "zeros.dcm": bytes(1 << 20),
        "text.png": b"Patient was seen today.\n",
        "one-byte.dcm": b"\x01",
    }
    for name, data in files.items():
        yield Hostile(name, data, "unknown_type")
    yield Hostile("empty.dcm", b"", "empty_file")
