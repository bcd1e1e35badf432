"""The seeds: what ships in pydicom's wheel, phantoms, and small files made here. Nothing of it is committed."""

from __future__ import annotations

import importlib.util
import io
import json
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom import uid

from tests.bad_files import phantom_dicom
from tests.pictures import bone
from tests.unit.imaging.encodings import compress

_LARGEST_BYTES = 40_000


@cache
def scratch() -> Path:
    """A folder of this process, in memory where there is such a place."""
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


@cache
def dicom_seeds() -> tuple[bytes, ...]:
    """pydicom's test files up to 40 kB and a phantom."""
    found = importlib.util.find_spec("pydicom")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("pydicom")
    folder = Path(found.submodule_search_locations[0]) / "data"
    files = sorted([*(folder / "test_files").glob("*.dcm"), *(folder / "charset_files").glob("*.dcm")])
    shipped = (file.read_bytes() for file in files if file.stat().st_size <= _LARGEST_BYTES)
    return (*shipped, _small_phantom(), *_compressed_dicom())


@cache
def raster_seeds() -> tuple[bytes, ...]:
    """One small picture of every kind that is read, with what each kind has besides pixels."""
    grey = Image.fromarray(bone(48, 40))
    deep = Image.fromarray(bone(48, 40).astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: tuple[tuple[str, Image.Image, dict[str, object]], ...] = (
        ("PNG", grey, {}),
        ("PNG", deep, {}),
        ("PNG", grey.convert("P"), {"transparency": 0}),
        ("PNG", grey.convert("LA"), {"icc_profile": b"profile" * 8, "exif": exif}),
        ("PNG", grey, {"save_all": True, "append_images": [grey.rotate(180)]}),
        ("JPEG", grey, {"exif": exif, "icc_profile": b"profile" * 8}),
        ("JPEG", grey.convert("RGB"), {"progressive": True}),
        ("JPEG", grey.convert("CMYK"), {}),
        ("TIFF", grey, {"compression": "raw"}),
        ("TIFF", deep, {"compression": "tiff_lzw"}),
        ("TIFF", grey.convert("1"), {"compression": "group4"}),
        ("TIFF", grey, {"compression": "tiff_adobe_deflate", "save_all": True, "append_images": [grey]}),
        ("TIFF", grey.convert("RGB"), {"compression": "jpeg"}),
        ("WEBP", grey, {"lossless": True, "exif": exif}),
        ("WEBP", grey.convert("RGBA"), {"quality": 60}),
        ("GIF", grey, {}),
    )
    return (*(_saved(picture, kind, options) for kind, picture, options in kinds), *_rare_rasters())


def _rare_rasters() -> tuple[bytes, ...]:
    """What Pillow does not write: JPEG of other processes, several pictures in one, TIFF in planes and tiles."""
    grey = bone(48, 40)
    deep = grey.astype(np.uint16) * 16
    rgb = np.stack([deep] * 3, axis=-1)
    jpeg = imagecodecs.jpeg8_encode(grey, level=80)
    second = b"\xff\xe2\0\x12MPF\0MM\0*" + bytes(8)
    return (
        imagecodecs.jpeg8_encode(deep, bitspersample=12, level=80),
        imagecodecs.jpeg8_encode(deep, bitspersample=12, lossless=True),
        jpeg[:2] + second + jpeg[2:] + jpeg,
        imagecodecs.png_encode(rgb),
        _tiff(np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate"),
        _tiff(deep, tile=(16, 16), compression="lzw", predictor=True, bigtiff=True),
        _tiff(grey, photometric="miniswhite", compression="packbits", rowsperstrip=7, byteorder=">"),
        _tiff(deep.astype(np.float32), compression="zlib"),
        _tiff(grey, photometric="palette", colormap=np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))),
    )


def _tiff(pixels: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def _compressed_dicom() -> tuple[bytes, ...]:
    """A small phantom in the compressed transfer syntaxes of which pydicom ships no small file."""
    made = []
    for syntax in (
        uid.JPEGLosslessSV1,
        uid.JPEGExtended12Bit,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.HTJ2KLossless,
    ):
        dataset = pydicom.dcmread(io.BytesIO(_small_phantom()))
        compress(dataset, dataset.pixel_array, syntax)
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        made.append(stream.getvalue())
    return tuple(made)


@cache
def marked_seeds() -> tuple[bytes, ...]:
    """Files with names in them: nested, private and in two character sets, and in the text of pictures."""
    from PIL.PngImagePlugin import PngInfo

    made = []
    for charset, name in (("ISO_IR 100", "Xylophon^Y"), ("ISO_IR 192", "Xylophon^É=Yttrium")):
        dataset = pydicom.dcmread(io.BytesIO(_small_phantom()))
        dataset.SpecificCharacterSet, dataset.PatientName, dataset.PatientID = charset, name, "Yttrium7"
        dataset.PatientComments, dataset.StudyDescription = "Xylophon " * 9, "of Yttrium"
        item = pydicom.Dataset()
        item.PatientID = item.IssuerOfPatientID = "Xylophon"
        item.OtherPatientIDsSequence = [pydicom.Dataset()]
        dataset.OtherPatientIDsSequence = [item, pydicom.Dataset()]
        dataset.private_block(0x11, "Xylophon", create=True).add_new(1, "LO", "Yttrium")
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        made.append(stream.getvalue())
    text, exif = PngInfo(), Image.Exif()
    text.add_text("Author", "Xylophon")
    text.add_itxt("Title", "Yttrium", zip=True)
    exif[0x013B] = "Xylophon"
    grey = Image.fromarray(bone(48, 40))
    pictures = (
        _saved(grey, "PNG", {"pnginfo": text, "exif": exif}),
        _saved(grey, "JPEG", {"exif": exif, "comment": b"Yttrium"}),
        _saved(grey, "WEBP", {"lossless": True, "exif": exif, "xmp": b"<x>Yttrium</x>"}),
        _saved(grey, "TIFF", {"tiffinfo": exif}),
    )
    return (*made, *pictures)


def pattern_seeds() -> tuple[bytes, ...]:
    """A pattern and a name, line by line."""
    return (
        b"{study}_*\nfolder/12_front.png",
        b"{study}/*_?\na/b/c_1",
        b"*-{study}-*.dcm\nx-12-y.dcm",
        b"{study}\n" + b"a-" * 300,
        "{study}Ω?\nßΩs.png".encode(),
    )


@cache
def archive_seeds() -> tuple[bytes, ...]:
    """Archives of two members: stored, deflated, with folders, with zip64 records, empty."""

    def archive(method: int, names: tuple[str, ...], *, zip64: bool = False) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as file:
            for name in names:
                with file.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as member:
                    member.write(bytes(range(64)) * 3)
            file.comment = b"a comment"
        return stream.getvalue()

    names = ("a/1.dcm", "röntgen.png")
    return (
        archive(zipfile.ZIP_STORED, names),
        archive(zipfile.ZIP_DEFLATED, (*names, "folder/", "../up.dcm")),
        archive(zipfile.ZIP_DEFLATED, names, zip64=True),
        archive(zipfile.ZIP_BZIP2, names),
        archive(zipfile.ZIP_STORED, ()),
    )


BOUNDARY = "edge"


@cache
def multipart_seeds() -> tuple[bytes, ...]:
    """Bodies of forms with the boundary ``edge``."""

    def part(headers: str, body: bytes) -> bytes:
        return b"--edge\r\n" + headers.encode() + b"\r\n\r\n" + body + b"\r\n"

    file = part('Content-Disposition: form-data; name="files"; filename="1.dcm"\r\nContent-Type: a/b', b"bytes" * 9)
    label = part('Content-Disposition: form-data; name="label"', b"Monday")
    starred = part("Content-Disposition: form-data; name=files; filename*=UTF-8''r%C3%B6nt.dcm", b"x")
    end = b"--edge--\r\n"
    return (file + label + end, label + starred + file + end, file + file, end, b"", label + end)


@cache
def json_seeds() -> tuple[bytes, ...]:
    """Bodies that the API takes."""
    bodies = (
        {"receipts": ["1.2.3"], "label": "Monday", "grouping": "folder"},
        {"agreement": "disagree", "assessment": "fracture", "region": "hand", "reader": "A", "comment": "b\nc"},
        {"agreement": "agree", "assessment": ["fracture"], "reader": 1},
        {"agreement": {"a": []}, "comment": None, "region": "\ud800", "reader": "\u0000"},
        [1e400, -0.0, True, [[[[]]]]],
    )
    return tuple(json.dumps(body).encode() for body in bodies)


@cache
def query_seeds() -> tuple[bytes, ...]:
    """Queries of lists."""
    return (
        b"search=gAAAAABm_-&state=done&limit=5&sort=newest&after=AAAA",
        b"assessment=fracture&assessment=suspected&region=hand&from=2026-01-01&to=2026-12-31",
        b"page=2&cursor=eyJhIjoxfQ&limit=100000&wait=0",
        b"%00=%ff&search=%F0%9F%A6%B4%ED%A0%80&limit=-1",
    )


@cache
def settings_seeds() -> tuple[bytes, ...]:
    """Settings files."""
    return (
        b'data_dir = "d"\nsite = "north"\n[web]\nport = 9000\nthreads = 4\ntrusted_hosts = ["a", "b"]\n',
        b'[decode]\ntimeout_s = 3.5\nmax_pixels = 1000\n[work]\nlease_s = 10\n[queue]\nurl = "redis://localhost"\n',
        b'[webhook]\nurl = "https://a.example/hook"\nsecret_file = "s"\nattempts = 3\n[store]\nkind = "s3"\n',
        b"log_level = 1979-05-27T07:32:00Z\nweb = [1, 2]\n[[store]]\nkind = {a = 1}\n",
    )


def related_seeds() -> tuple[bytes, ...]:
    """Bodies of STOW-RS requests."""
    edge = BOUNDARY.encode()
    part = b"--" + edge + b"\r\nContent-Type: application/dicom\r\n\r\nDICM and more\r\n"
    bare = b"--" + edge + b"\r\n\r\n\r\n"
    return (part * 2 + b"--" + edge + b"--\r\n", b"before\r\n" + bare + part + b"--" + edge + b"--", part[:-9])


def peers_seeds() -> tuple[bytes, ...]:
    """Peers files."""
    return (
        b'[[caller]]\nae_title = "XRAY1"\naddress = "10.1.2.0/24"\nsite = "north"\n'
        b'[[caller]]\naddress = "::1"\nsite = "a"\n',
        b'[[destination]]\nname = "pacs"\nkind = "dimse"\nae_title = "ARCHIVE"\nhost = "pacs.example"\nport = 104\n',
        b'[[destination]]\nname = "web"\nkind = "dicomweb"\nurl = "https://a.example/dicom-web"\ntimeout_s = 5\n'
        b'send = ["sr", "pdf"]\ncheck = "required"\n[destination.tls]\n',
        b"caller = 3\n[[destination]]\nname = {a = 1}\nport = 1e400\n[[destination]]\n",
    )


@cache
def card_seeds() -> tuple[bytes, ...]:
    """The shipped models' cards."""
    folder = Path(__file__).resolve().parents[2] / "models"
    return tuple(file.read_bytes() for file in sorted(folder.glob("*/card.json")))


@cache
def text_seeds() -> tuple[bytes, ...]:
    """What people and attackers write into names."""
    texts = ("Müller, Åsa", "=1+1", "<b>a", "\u202egnp.exe", "a\r\nb\x1b[31m", "腕\u0301" * 40, "a" * 5000, "عظم abc")
    return tuple(text.encode() for text in texts)


def _saved(picture: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _small_phantom() -> bytes:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(phantom_dicom()))
    pixels = dataset.pixel_array[::8, ::8]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
