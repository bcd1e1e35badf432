"""Pictures come out upright and with square pixels, and boxes on the stored grid where the anatomy is."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from fractureai.domain.radiograph import Radiograph
from fractureai.domain.roi import rescale_box, square_extent
from fractureai.errors import RejectedInput
from fractureai.imaging import media, png
from fractureai.imaging.deidentify import Replacements, deidentified
from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.geometry import fit_square
from fractureai.imaging.jpeg import parse_jpeg
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.picture_tags import PictureTags, bare_exif
from fractureai.imaging.raster import read_raster
from tests.unit.imaging.conftest import build_dataset, to_bytes

LIMITS = DecodeLimits()
NAMELESS = Replacements("P", "", "A", {}, None)
HEIGHT, WIDTH = 120, 80
MARK = (24, 32, 40, 64)
"""Where a bright mark is, ``x0 y0 x1 y1`` on the upright grid of square pixels."""


def anatomy() -> np.ndarray:
    """``(HEIGHT, WIDTH)`` uint8: no symmetry, and a mark."""
    ramp = np.add.outer(np.linspace(20, 110, HEIGHT), np.linspace(0, 90, WIDTH))
    ramp[MARK[1] : MARK[3], MARK[0] : MARK[2]] = 250
    return ramp.astype(np.uint8)


def stored_for(orientation: int, upright: np.ndarray) -> np.ndarray:
    """What a device that was held so has stored: the inverse of the turn that the tag asks for."""
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(turned)


def read(data: bytes) -> Radiograph:
    kind = media.sniff(data[: media.HEAD_BYTES]).media_type
    assert kind is not None
    return read_dicom(data, LIMITS) if kind == media.DICOM else read_raster(data, kind, LIMITS)


def mark_in(image: Radiograph) -> tuple[int, int, int, int]:
    """Where the mark is in the picture, on the stored grid."""
    rows, columns = np.nonzero(image.pixels > 225)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return rescale_box(box, image.pixels.shape, (image.source_height_px, image.source_width_px))


# Files with tags


def jpeg(pixels: np.ndarray, tags: PictureTags) -> bytes:
    plain = imagecodecs.jpeg8_encode(pixels, level=98)
    exif = b"Exif\0\0" + bare_exif(tags)
    return plain[:2] + struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif + plain[2:]


def jfif(pixels: np.ndarray, tags: PictureTags) -> bytes:
    plain = bytearray(imagecodecs.jpeg8_encode(pixels, level=98))
    at = plain.index(b"JFIF\0") + 8
    plain[at : at + 4] = struct.pack(">HH", round(100 * tags.aspect), 100)
    return bytes(plain)


def png_file(pixels: np.ndarray, tags: PictureTags) -> bytes:
    return png.with_tags(imagecodecs.png_encode(pixels), tags)


def png_physical(pixels: np.ndarray, tags: PictureTags) -> bytes:
    plain = imagecodecs.png_encode(pixels)
    body = b"pHYs" + struct.pack(">IIB", round(1000 * tags.aspect), 1000, 1)
    return plain[:33] + struct.pack(">I", 9) + body + struct.pack(">I", imagecodecs.zlib_crc32(body)) + plain[33:]


def tiff(pixels: np.ndarray, tags: PictureTags) -> bytes:
    stream = io.BytesIO()
    orientation = (274, 3, 1, tags.orientation, True)
    tifffile.imwrite(stream, pixels, resolution=(100 * tags.aspect, 100), extratags=[orientation])
    return stream.getvalue()


def webp(pixels: np.ndarray, tags: PictureTags) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", lossless=True, exif=bare_exif(tags))
    return stream.getvalue()


Make = Callable[[np.ndarray, PictureTags], bytes]
FORMATS: dict[str, Make] = {
    "JPEG": jpeg,
    "PNG": png_file,
    "PNG, 16 bits": lambda pixels, tags: png_file(pixels.astype(np.uint16) * 257, tags),
    "TIFF": tiff,
    "TIFF, 16 bits": lambda pixels, tags: tiff(pixels.astype(np.uint16) * 257, tags),
    "WebP": webp,
}
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "read": lambda data: data,
    "de-identified": lambda data: deidentified(data, NAMELESS, LIMITS),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_orientation(kind: str, orientation: int, way: str) -> None:
    data = FORMATS[kind](stored_for(orientation, anatomy()), PictureTags(orientation))
    image = read(WAYS[way](data))
    assert (image.source_height_px, image.source_width_px) == (HEIGHT, WIDTH)
    assert np.abs(image.pixels.astype(int) - anatomy()).max() <= (8 if kind == "JPEG" else 1)


def test_jpeg_keeps_no_metadata_but_its_tags() -> None:
    data = deidentified(jpeg(anatomy(), PictureTags(6, 2.0)), NAMELESS, LIMITS)
    assert [segment.marker for segment in parse_jpeg(data).segments][:2] == [0xE0, 0xE1]
    assert bare_exif(PictureTags(6, 2.0)) in data


# Oblong pixels: of every two rows, one was stored.

TALL = anatomy().reshape(HEIGHT // 2, 2, WIDTH).mean(axis=1).astype(np.uint8)
WIDE = anatomy().reshape(HEIGHT, WIDTH // 2, 2).mean(axis=2).astype(np.uint8)


def dicom(pixels: np.ndarray, **attributes: Any) -> bytes:
    return to_bytes(build_dataset(pixels, **attributes))


OBLONG: dict[str, Callable[[np.ndarray, float], bytes]] = {
    **{
        keyword: lambda pixels, aspect, keyword=keyword: dicom(pixels, **{keyword: [0.4 * aspect, 0.4]})
        for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    },
    "PixelAspectRatio": lambda pixels, aspect: dicom(pixels, PixelAspectRatio=[int(100 * aspect), 100]),
    "the first spacing counts": lambda pixels, aspect: dicom(
        pixels, PixelSpacing=[aspect, 1], ImagerPixelSpacing=[0.1, 0.1], PixelAspectRatio=[1, 1]
    ),
    "JFIF": lambda pixels, aspect: jfif(pixels, PictureTags(aspect=aspect)),
    "PNG, physical size": lambda pixels, aspect: png_physical(pixels, PictureTags(aspect=aspect)),
    **{f"{kind}, resolution": lambda pixels, aspect, kind=kind: FORMATS[kind](pixels, PictureTags(aspect=aspect))
       for kind in FORMATS},
}  # fmt: skip


@pytest.mark.parametrize("name", OBLONG)
@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_oblong_pixels(name: str, aspect: float) -> None:
    pixels = TALL if aspect > 1 else WIDE
    image = read(OBLONG[name](pixels, aspect))
    assert image.pixels.shape == (HEIGHT, WIDTH)
    assert (image.source_height_px, image.source_width_px) == pixels.shape
    assert np.abs(image.pixels.astype(int) - anatomy())[:, :16].max() <= 8
    x0, y0, x1, y1 = mark_in(image)
    scale_x, scale_y = pixels.shape[1] / WIDTH, pixels.shape[0] / HEIGHT
    wanted = (MARK[0] * scale_x, MARK[1] * scale_y, MARK[2] * scale_x, MARK[3] * scale_y)
    assert np.abs(np.array((x0, y0, x1, y1)) - wanted).max() <= 1
    assert square_extent(pixels.shape, image.pixels.shape) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", FORMATS)
def test_oblong_pixels_stay_so_without_names(kind: str) -> None:
    turned = stored_for(6, TALL)
    data = FORMATS[kind](turned, PictureTags(6, 0.5))
    for way in WAYS.values():
        assert read(way(data)).pixels.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("spacing", [[0.2, 0.2], [0.2, 0.201], [0.2, 20], [0, 0.2], [-1, 2], ["", 1]])
def test_square_and_impossible_spacings_change_nothing(spacing: list[Any]) -> None:
    assert read(dicom(anatomy(), PixelSpacing=spacing)).pixels.shape == (HEIGHT, WIDTH)


def test_a_large_oblong_picture_is_averaged_where_it_shrinks() -> None:
    checker = (np.indices((600, 2400)).sum(axis=0) % 2 * 100).astype(np.uint8)
    small = fit_square(checker, 2.0, 1024)
    assert small.shape == (512, 1024)
    assert np.abs(small.astype(int) - 50).max() <= 5


# Header and picture


def framed(shape: tuple[int, int], attributes: dict[str, Any] | None = None) -> Dataset:
    dataset = build_dataset(anatomy(), **(attributes or {}))
    dataset.Rows, dataset.Columns = shape
    dataset.PixelData = encapsulate([imagecodecs.jpeg8_encode(anatomy(), level=98)])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    return dataset


def test_exchanged_rows_and_columns_are_the_pictures_own() -> None:
    image = read(to_bytes(framed((WIDTH, HEIGHT))))
    assert (image.source_height_px, image.source_width_px) == image.pixels.shape == (HEIGHT, WIDTH)
    assert np.abs(np.array(mark_in(image)) - MARK).max() <= 1


@pytest.mark.parametrize("shape", [(HEIGHT // 2, WIDTH * 2), (HEIGHT, WIDTH + 1), (HEIGHT - 1, WIDTH)])
def test_any_other_contradiction_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(RejectedInput) as refused:
        read(to_bytes(framed(shape)))
    assert refused.value.code == "header_mismatch"


ENDS = {"none": b"", "zeros": bytes(8), "half": b"\xfe\xff\xdd\xe0", "many zeros": bytes(64)}


@pytest.mark.parametrize("end", ENDS)
def test_a_missing_sequence_delimiter(end: str, tmp_path: Path) -> None:
    whole = to_bytes(framed((HEIGHT, WIDTH)))
    assert whole.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    cut = whole[:-8] + ENDS[end]
    np.testing.assert_array_equal(read(cut).pixels, read(whole).pixels)
    cleaned = deidentified(cut, NAMELESS, LIMITS)
    assert pydicom.dcmread(io.BytesIO(cleaned)).PixelData == pydicom.dcmread(io.BytesIO(whole)).PixelData


@pytest.mark.parametrize("missing", [2, 9, 300])
def test_a_fragment_that_is_cut_off_is_damaged(missing: int) -> None:
    whole = to_bytes(framed((HEIGHT, WIDTH)))[:-8]
    for end in (b"", bytes(8)):
        with pytest.raises(RejectedInput) as refused:
            read(whole[:-missing] + end)
        assert refused.value.code == "damaged"
