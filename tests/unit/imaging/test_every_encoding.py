"""One phantom through every encoding, depth, window and format the intake accepts: always the same picture."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.raster import read_raster
from fractureai.phantoms.render import PhantomSpec, render
from tests.unit.imaging.conftest import build_dataset, to_bytes
from tests.unit.imaging.encodings import compress

LIMITS = DecodeLimits()
EXACT, LOSSY = 1, 8
SPREAD = 24
"""Levels by which a picture that had to be spread may differ: black and white of the original are not known."""


@cache
def phantom() -> np.ndarray:
    """``(220, 176)`` uint16, 0..4095, as smooth as a radiograph of full size."""
    drawn = render(PhantomSpec("hand", "frontal", fractured=True, seed=4, height_px=440, width_px=352)).pixels
    return np.ascontiguousarray(drawn.reshape(220, 2, 176, 2).mean(axis=(1, 3)).astype(np.uint16))


def scaled(bits: int) -> np.ndarray:
    """The phantom on a scale of so many bits."""
    full = (1 << bits) - 1
    return np.rint(phantom() / 4095 * full).astype("uint8" if bits == 8 else "uint16")


@cache
def expected() -> np.ndarray:
    return np.rint(phantom() / 4095 * 255).astype(int)


# DICOM


def window(bits: int, times: float = 1, low: int = 0) -> dict[str, str]:
    """LINEAR_EXACT over the whole scale, or so many times as wide."""
    full = (1 << bits) - 1
    return {"WindowCenter": str(low + full / 2), "WindowWidth": str(full * times), "VOILUTFunction": "LINEAR_EXACT"}


def dicom(pixels: np.ndarray, bits: int, syntax: str = uid.ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    uncompressed = {uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian}
    plain = syntax if syntax in uncompressed else uid.ExplicitVRLittleEndian
    dataset = build_dataset(pixels, plain, BitsStored=bits, **attributes)
    return to_bytes(dataset if plain == syntax else compress(dataset, pixels, syntax))


def signed(bits: int) -> np.ndarray:
    """Stored from the lowest negative value on."""
    kind = np.int8 if bits == 8 else np.int16
    return (scaled(bits).astype(np.int32) - (1 << (bits - 1))).astype(kind)


def table(entries: np.ndarray, first: int, bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries.size % 65536, first % 65536, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


def modality_lut() -> bytes:
    squares = np.rint((np.arange(4096) / 4095) ** 2 * 65535)
    stored = np.rint(np.sqrt(phantom() / 4095) * 4095).astype(np.uint16)
    return dicom(stored, 12, ModalityLUTSequence=table(squares, 0, 16), **window(16))


def sigmoid() -> bytes:
    """Stored so that the sigmoid of center 2048 and width 1024 shows the phantom, but for its blackest and whitest."""
    shown = np.clip(phantom() / 4095, 0.001, 0.999)
    stored = np.rint(2048 + 256 * np.log(shown / (1 - shown))).clip(0, 4095).astype(np.uint16)
    return dicom(stored, 12, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID")


def padded() -> bytes:
    """Padding of a value no pixel has, in the corner that the phantom leaves black."""
    pixels = phantom().copy()
    pixels[:3, :] = 4095
    pixels[3:][pixels[3:] == 4095] = 4094
    return dicom(pixels, 12, PixelPaddingValue=4095, **window(12))


def palette(bits: int) -> bytes:
    entries = np.arange(256, dtype=np.uint16) * 257 if bits == 16 else np.arange(256, dtype=np.uint8)
    tables = {}
    for colour in ("Red", "Green", "Blue"):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        tables[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    return dicom(scaled(8), 8, PhotometricInterpretation="PALETTE COLOR", **tables)


def byte_lut(kind: str) -> Sequence:
    """A VOI LUT of 8-bit entries: packed into words as bytes or as numbers, or one a word."""
    entries = np.rint(np.arange(4096) / 4095 * 255).astype(np.uint8)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 8])
    written = {"packed": entries.tobytes(), "words": entries.astype("<u2").tobytes()}
    numbers = entries.view("<u2").tolist()
    item.add_new("LUTData", "US" if kind == "numbers" else "OW", numbers if kind == "numbers" else written[kind])
    return Sequence([item])


def framed(stream: bytes, header: np.ndarray, bits: int, syntax: str, pieces: int = 1, **attributes: Any) -> bytes:
    """A stream under a header that may say something else."""
    dataset = build_dataset(header, BitsStored=bits, **attributes)
    dataset.PixelData = encapsulate([stream], fragments_per_frame=pieces)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return to_bytes(dataset)


def lossless(pixels: np.ndarray, bits: int) -> bytes:
    return imagecodecs.jpeg8_encode(pixels, bitspersample=bits, lossless=True)


def luma_and_chroma() -> bytes:
    return imagecodecs.jpeg8_encode(np.stack([scaled(8)] * 3, axis=-1), level=98)


UNUSABLE = {
    "of width 0": ("2048", "0"),
    "of negative width": ("2048", "-100"),
    "of width 1": ("2048", "1"),
    "that is no number": ("2048", "nan"),
    "far from the values": ("900000", "100"),
    "a thousand times too wide": ("2048", "4096000"),
}
DEPTHS = (8, 10, 12, 14, 16)
DICOM: dict[str, tuple[Callable[[], bytes], int]] = {
    **{f"{bits} bits": (lambda b=bits: dicom(scaled(b), b, **window(b)), EXACT) for bits in DEPTHS},
    **{f"{bits} bits without window": (lambda b=bits: dicom(scaled(b), b), EXACT) for bits in DEPTHS},
    **{
        f"{bits} bits, signed": (lambda b=bits: dicom(signed(b), b, **window(b, low=-(1 << (b - 1)))), EXACT)
        for bits in DEPTHS
    },
    **{f"{bits} bits, window × {times}": (lambda b=bits, t=times: dicom(scaled(b), b, **window(b, t)), SPREAD)
       for bits in (8, 12, 16) for times in (2, 4)},
    "MONOCHROME1": (lambda: dicom(4095 - phantom(), 12, PhotometricInterpretation="MONOCHROME1", **window(12)), EXACT),
    "MONOCHROME1, inverse shape": (
        lambda: dicom(
            4095 - phantom(), 12, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE", **window(12)
        ),
        EXACT,
    ),
    "MONOCHROME2, inverse shape": (lambda: dicom(4095 - phantom(), 12, PresentationLUTShape="INVERSE"), EXACT),
    "rescaled": (
        lambda: dicom(phantom(), 12, RescaleSlope="0.5", RescaleIntercept="-1000", WindowCenter="23.75",
                      WindowWidth="2047.5", VOILUTFunction="LINEAR_EXACT"),
        EXACT,
    ),
    "negative slope": (
        lambda: dicom(4095 - phantom(), 12, RescaleSlope="-1", RescaleIntercept="4095", **window(12)), EXACT
    ),
    "LINEAR": (lambda: dicom(phantom(), 12, WindowCenter="2048", WindowWidth="4096"), EXACT),
    "SIGMOID": (sigmoid, EXACT),
    "VOI LUT": (lambda: dicom(phantom(), 12, VOILUTSequence=table(np.arange(4096) << 4, 0, 16)), EXACT),
    "modality LUT": (modality_lut, 2),
    "two windows": (
        lambda: dicom(phantom(), 12, WindowCenter=["2048", "100"], WindowWidth=["4096", "10"]), EXACT
    ),
    "left aligned": (lambda: dicom(phantom() << 4, 12, HighBit=15, **window(12)), EXACT),
    **{
        f"{name} in unused bits": (lambda b=bits: dicom(phantom() | b().astype(np.uint16), 12, **window(12)), EXACT)
        for name, bits in {
            "a constant": lambda: np.full(phantom().shape, 0xA000),
            "garbage": lambda: np.random.default_rng(1).integers(0, 16, phantom().shape) << 12,
            "an overlay": lambda: np.pad(np.full((60, 80), 0x8000), ((80, 80), (48, 48))),
        }.items()
    },
    **{
        f"a window {name}": (lambda c=center, w=width: dicom(phantom(), 12, WindowCenter=c, WindowWidth=w), EXACT)
        for name, (center, width) in UNUSABLE.items()
    },
    "a window fifty times too wide": (lambda: dicom(phantom(), 12, **window(12, 50)), SPREAD),
    "an unusable window before a usable one": (
        lambda: dicom(phantom(), 12, WindowCenter=["1", "2048"], WindowWidth=["0", "4096"]), EXACT
    ),
    **{f"VOI LUT of bytes, {kind}": (lambda k=kind: dicom(phantom(), 12, VOILUTSequence=byte_lut(k)), EXACT)
       for kind in ("packed", "words", "numbers")},
    "VOI LUT from a negative value on": (
        lambda: dicom(signed(12), 12, VOILUTSequence=table(np.arange(4096) << 4, -2048, 16)), EXACT
    ),
    "slope 0": (lambda: dicom(phantom(), 12, RescaleSlope="0", **window(12)), EXACT),
    "signed with an offset": (lambda: dicom(signed(12), 12, RescaleIntercept="2048", **window(12)), EXACT),
    **{f"palette of {bits} bits": (lambda b=bits: palette(b), EXACT) for bits in (8, 16)},
    **{
        f"YCbCr JPEG under {photometric}": (
            lambda p=photometric: framed(
                luma_and_chroma(), np.stack([scaled(8)] * 3, axis=-1) if p != "MONOCHROME2" else scaled(8), 8,
                uid.JPEGBaseline8Bit, PhotometricInterpretation=p,
            ),
            LOSSY,
        )
        for photometric in ("YBR_FULL_422", "YBR_FULL", "RGB", "MONOCHROME2")
    },
    "a frame in five fragments": (
        lambda: framed(lossless(phantom(), 12), phantom(), 12, uid.JPEGLosslessSV1, 5, **window(12)), EXACT
    ),
    "lossless words with garbage": (
        lambda: framed(lossless(phantom() | 0xB000, 16), phantom(), 12, uid.JPEGLosslessSV1, **window(12)), EXACT
    ),
    "12 bits of 16": (lambda: dicom(phantom(), 16), SPREAD),
    "a quarter of the levels": (lambda: dicom(scaled(8) >> 2, 8), SPREAD),
    "RGB": (lambda: dicom(np.stack([scaled(8)] * 3, axis=-1), 8), EXACT),
    "RGB, 16 bits": (lambda: dicom(np.stack([scaled(16)] * 3, axis=-1), 16), EXACT),
    **{
        f"{uid.UID(syntax).name}, {bits} bits": (lambda s=syntax, b=bits: dicom(scaled(b), b, s, **window(b)), EXACT)
        for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
                       uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
                       uid.JPEG2000Lossless, uid.HTJ2KLossless)
        for bits in (8, 12, 16)
    },
    **{
        f"{uid.UID(syntax).name}, signed": (
            lambda s=syntax: dicom(signed(12), 12, s, **window(12, low=-2048)), EXACT
        )
        for syntax in (uid.ExplicitVRBigEndian, uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
                       uid.JPEG2000Lossless)
    },
    **{
        f"{uid.UID(syntax).name}, {bits} bits": (lambda s=syntax, b=bits: dicom(scaled(b), b, s, **window(b)), LOSSY)
        for syntax, bits in ((uid.JPEGBaseline8Bit, 8), (uid.JPEGExtended12Bit, 12), (uid.JPEGLSNearLossless, 8),
                             (uid.JPEGLSNearLossless, 12), (uid.JPEG2000, 8), (uid.JPEG2000, 12), (uid.HTJ2K, 12))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DICOM)
def test_dicom(name: str) -> None:
    build, tolerance = DICOM[name]
    found = read_dicom(build(), LIMITS).pixels.astype(int)
    assert np.abs(found - expected()).max() <= tolerance


def test_padding_is_black_and_the_rest_as_it_was() -> None:
    found = read_dicom(padded(), LIMITS).pixels.astype(int)
    assert not found[:3].any()
    assert np.abs(found - expected())[3:].max() <= EXACT


CONTRADICTIONS: dict[str, Callable[[], bytes]] = {
    "10 bits stored, 12 in the pixels": lambda: dicom(phantom(), 10),
    "8 bits stored, 16 in the pixels": lambda: dicom(scaled(16), 8),
    "11 bits stored, signed, 12 in the pixels": lambda: dicom(signed(12), 11),
    "RGB in the header, grey in the picture": lambda: framed(
        imagecodecs.jpeg8_encode(scaled(8), level=98), np.stack([scaled(8)] * 3, axis=-1), 8, uid.JPEGBaseline8Bit
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_header_that_contradicts_the_pixels_is_refused(name: str) -> None:
    with pytest.raises(RejectedInput) as refused:
        read_dicom(CONTRADICTIONS[name](), LIMITS)
    assert refused.value.code == "header_mismatch"


# Picture files


def png(pixels: np.ndarray) -> bytes:
    return imagecodecs.png_encode(np.ascontiguousarray(pixels))


def pillow(kind: str, mode: str = "L", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scaled(8)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def jpeg(bits: int = 8, channels: int = 1, **options: Any) -> bytes:
    pixels = scaled(bits) if channels == 1 else np.stack([scaled(bits)] * channels, axis=-1)
    lossy = {} if options.get("lossless") else {"level": 98}
    return imagecodecs.jpeg8_encode(pixels, bitspersample=bits, **lossy, **options)


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def channels(pixels: np.ndarray, count: int) -> np.ndarray:
    """Grey or RGB and, with 2 or 4 channels, opaque alpha; a pixel of it is not, so that it counts."""
    alpha = np.full_like(pixels, np.iinfo(pixels.dtype).max)
    alpha[0, 0] -= 1
    colours = [pixels] * (count - (count + 1) % 2)
    return np.stack(colours + [alpha] * ((count + 1) % 2), axis=-1)


def palette_png() -> bytes:
    image = Image.fromarray(scaled(8))
    image.putpalette([level for level in range(256) for _ in range(3)])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def with_png_chunk(name: bytes, payload: bytes) -> bytes:
    data = png(scaled(8))
    body = name + payload
    return data[:33] + struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def white_as_zero(bits: int) -> bytes:
    return tiff(np.iinfo(scaled(bits).dtype).max - scaled(bits), photometric="miniswhite")


def twelve_bit_tiff() -> bytes:
    """Two pixels in three bytes, which tifffile does not write."""
    even, odd = phantom().ravel()[0::2], phantom().ravel()[1::2]
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=-1).astype(np.uint8).tobytes()
    height, width = phantom().shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(packed))
    return head + packed + struct.pack("<H", len(tags)) + entries + bytes(4)


PICTURES: dict[str, tuple[Callable[[], bytes], int]] = {
    **{
        f"PNG, {bits} bits, {count} channels": (lambda b=bits, c=count: png(channels(scaled(b), c)), EXACT)
        for bits in (8, 16) for count in (2, 3, 4)
    },
    **{f"PNG, {bits} bits": (lambda b=bits: png(scaled(b)), EXACT) for bits in (8, 16)},
    **{f"PNG, {bits} bits in 16": (lambda b=bits: png(scaled(b)), SPREAD) for bits in (10, 12, 14)},
    **{
        f"PNG, {bits} bits in 16, {count} channels": (lambda b=bits, c=count: png(channels(scaled(b), c)), SPREAD)
        for bits in (12, 14) for count in (2, 3, 4)
    },
    **{
        f"PNG, a {name} of the scale, {bits} bits": (lambda b=bits, s=shift: png(scaled(b) >> s), SPREAD)
        for name, shift in (("half", 1), ("quarter", 2)) for bits in (8, 16)
    },
    "PNG, palette": (palette_png, EXACT),
    "PNG, gamma": (lambda: with_png_chunk(b"gAMA", struct.pack(">I", 100_000)), EXACT),
    "PNG, significant bits": (lambda: with_png_chunk(b"sBIT", b"\x07"), EXACT),
    "PNG, profile": (lambda: pillow("PNG", icc_profile=bytes(200)), EXACT),
    "JPEG": (jpeg, LOSSY),
    "JPEG, RGB": (lambda: jpeg(channels=3), LOSSY),
    "JPEG, half of the scale": (
        lambda: imagecodecs.jpeg8_encode(scaled(8) >> 1, level=98), SPREAD
    ),
    "JPEG, progressive": (lambda: pillow("JPEG", quality=98, progressive=True), LOSSY),
    "JPEG, progressive RGB": (lambda: pillow("JPEG", "RGB", quality=98, progressive=True), LOSSY),
    "JPEG, profile": (lambda: pillow("JPEG", quality=98, icc_profile=bytes(200)), LOSSY),
    "JPEG, 12 bits": (lambda: jpeg(12), LOSSY),
    **{f"JPEG, lossless, {bits} bits": (lambda b=bits: jpeg(b, lossless=True), EXACT) for bits in (8, 12, 16)},
    "JPEG, lossless RGB": (lambda: jpeg(8, 3, lossless=True), EXACT),
    "JPEG, 12 bits in lossless 16": (
        lambda: imagecodecs.jpeg8_encode(phantom(), bitspersample=16, lossless=True), SPREAD
    ),
    **{
        f"TIFF, {bits} bits, {name}": (lambda b=bits, o=options: tiff(scaled(b), **o), EXACT)
        for bits in (8, 16)
        for name, options in {
            "one strip": {}, "strips": {"rowsperstrip": 16}, "tiles": {"tile": (64, 48)}, "BigTIFF": {"bigtiff": True},
            "big-endian": {"byteorder": ">"}, "LZW": {"compression": "lzw"}, "Deflate": {"compression": "zlib"},
            "PackBits": {"compression": "packbits"}, "predictor": {"compression": "lzw", "predictor": True},
        }.items()
    },
    **{f"TIFF, white as zero, {bits} bits": (lambda b=bits: white_as_zero(b), EXACT) for bits in (8, 16)},
    **{
        f"TIFF, RGB, {name}, {bits} bits": (
            lambda b=bits, p=planes: tiff(
                np.moveaxis(channels(scaled(b), 3), -1, 0) if p else channels(scaled(b), 3),
                photometric="rgb", planarconfig="separate" if p else "contig",
            ),
            EXACT,
        )
        for name, planes in (("interleaved", False), ("planar", True)) for bits in (8, 16)
    },
    **{
        f"TIFF, grey and alpha, {bits} bits": (
            lambda b=bits: tiff(channels(scaled(b), 2), photometric="minisblack", extrasamples=["unassalpha"]), EXACT
        )
        for bits in (8, 16)
    },
    "TIFF, RGBA": (
        lambda: tiff(channels(scaled(16), 4), photometric="rgb", extrasamples=["unassalpha"]), EXACT
    ),
    "TIFF, palette": (
        lambda: tiff(
            scaled(8), photometric="palette", colormap=np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
        ),
        EXACT,
    ),
    "TIFF, JPEG": (lambda: tiff(scaled(8), compression="jpeg", compressionargs={"level": 98}), LOSSY),
    "TIFF, 12 bits in 16": (lambda: tiff(phantom()), SPREAD),
    "TIFF, 12 bits packed": (twelve_bit_tiff, EXACT),
    **{
        f"TIFF, {kind}, 0 to 1": (lambda k=kind: tiff((phantom() / 4095).astype(k)), EXACT)
        for kind in ("float16", "float32", "float64")
    },
    "TIFF, floating point": (lambda: tiff(phantom().astype(np.float32)), SPREAD),
    "TIFF, floating point below 0": (lambda: tiff(phantom().astype(np.float32) - 9000), SPREAD),
    "TIFF, 32 bits": (lambda: tiff(phantom().astype(np.uint32) * 1000), SPREAD),
    **{f"TIFF, signed, {bits} bits": (lambda b=bits: tiff(signed(b)), EXACT) for bits in (8, 16)},
    "WebP": (lambda: pillow("WEBP", lossless=True), EXACT),
    "WebP, RGBA": (lambda: pillow("WEBP", "RGBA", lossless=True), EXACT),
    "WebP, lossy": (lambda: pillow("WEBP", quality=95), SPREAD),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_picture_files(name: str) -> None:
    build, tolerance = PICTURES[name]
    data = build()
    media_type = media.sniff(data[: media.HEAD_BYTES]).media_type
    assert media_type is not None
    found = read_raster(data, media_type, LIMITS).pixels.astype(int)
    assert np.abs(found - expected()).max() <= tolerance
