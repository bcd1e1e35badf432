"""Whole but rare picture files: decoded, or refused by the name of what is not supported."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.deidentify import Replacements, deidentified
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.raster import read_raster

LIMITS = DecodeLimits()
PIXELS = np.add.outer(np.linspace(0, 130, 120), np.linspace(5, 120, 90)).astype(np.uint8)


def read(data: bytes) -> np.ndarray:
    kind = media.sniff(data[: media.HEAD_BYTES]).media_type
    assert kind is not None
    return read_raster(data, kind, LIMITS).pixels


def refusal(data: bytes) -> tuple[str, str]:
    with pytest.raises(RejectedInput) as refused:
        read(data)
    return refused.value.code, refused.value.detail


def jpeg(pixels: np.ndarray = PIXELS, *segments: bytes) -> bytes:
    plain = imagecodecs.jpeg8_encode(pixels, level=98)
    return plain[:2] + b"".join(segments) + plain[2:]


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">HH", 0xFF00 | marker, len(payload) + 2) + payload


MULTI_PICTURE = segment(0xE2, b"MPF\0" + b"MM\0*" + bytes(8))
GAIN_MAPS = {
    "Adobe": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b'<x hdrgm:Version="1.0"/>'),
    "Apple": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x><HDRGainMap/></x>"),
    "ISO 21496-1": segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)),
}


@pytest.mark.parametrize("maker", GAIN_MAPS)
def test_a_gain_map_is_left_out(maker: str) -> None:
    both = jpeg(PIXELS, MULTI_PICTURE) + jpeg(PIXELS[::-1], GAIN_MAPS[maker])
    np.testing.assert_array_equal(read(both), read(jpeg()))


def test_a_smaller_copy_is_left_out_and_a_second_picture_refused() -> None:
    small = np.ascontiguousarray(PIXELS[::4, ::4])
    np.testing.assert_array_equal(read(jpeg(PIXELS, MULTI_PICTURE) + jpeg(small)), read(jpeg()))
    assert refusal(jpeg(PIXELS, MULTI_PICTURE) + jpeg(PIXELS[::-1]))[0] == "multi_frame"
    stream = io.BytesIO()
    first, second = (Image.fromarray(np.ascontiguousarray(each)) for each in (PIXELS, PIXELS[::-1]))
    first.save(stream, "MPO", save_all=True, append_images=[second])
    assert refusal(stream.getvalue())[0] == "multi_frame"


def test_what_follows_a_single_picture_is_not_looked_at() -> None:
    np.testing.assert_array_equal(read(jpeg() + jpeg(PIXELS[::-1])), read(jpeg()))


def test_names_of_a_second_picture_go() -> None:
    secret = segment(0xFE, b"Musterfrau")
    cleaned = deidentified(
        jpeg(PIXELS, MULTI_PICTURE) + jpeg(PIXELS[::4], secret), Replacements("P", "", "A", {}, None), LIMITS
    )
    assert b"Musterfrau" not in cleaned
    np.testing.assert_array_equal(read(cleaned), read(jpeg()))


def test_processes_that_no_decoder_has_are_named() -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 1] = 0xC5
    assert refusal(bytes(data)) == ("unsupported_encoding", "hierarchical or arithmetic lossless JPEG")


def test_four_components_are_colour() -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(stream, "JPEG")
    assert refusal(stream.getvalue())[0] == "colour_image"


def pages(*written: tuple[np.ndarray, dict[str, Any]]) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for pixels, options in written:
            file.write(np.ascontiguousarray(pixels), **options)
    return stream.getvalue()


WHOLE = (PIXELS, {})


@pytest.mark.parametrize("subfile_type", [1, 4, 5])
@pytest.mark.parametrize("place", [0, 1])
def test_thumbnails_and_masks_are_left_out(subfile_type: int, place: int) -> None:
    found = [WHOLE]
    found.insert(place, (PIXELS[::4, ::4], {"subfiletype": 1}))
    # tifffile writes no masks; the tag's value is put in.
    tag, other = (struct.pack("<HHII", 254, 4, 1, value) for value in (1, subfile_type))
    np.testing.assert_array_equal(read(pages(*found).replace(tag, other)), PIXELS)


@pytest.mark.parametrize("subfile_type", [0, 2])
def test_pages_are_refused(subfile_type: int) -> None:
    assert refusal(pages(WHOLE, (PIXELS[::-1], {"subfiletype": subfile_type})))[0] == "multi_frame"
    assert refusal(pages(WHOLE, (PIXELS[::2, ::2], {})))[0] == "multi_frame"


@pytest.mark.parametrize("compression", ["zstd", "lzma", "jpeg2000", "webp", "jpegxl"])
def test_compressions_that_are_not_read_are_named(compression: str) -> None:
    pixels = np.stack([PIXELS] * 3, axis=-1) if compression == "webp" else PIXELS
    code, detail = refusal(pages((pixels, {"compression": compression})))
    assert code == "unsupported_encoding"
    assert compression.upper()[:4] in detail.upper()


def test_missing_strips_are_not_shown_black() -> None:
    data = bytearray(pages((PIXELS, {"rowsperstrip": 30, "compression": "zlib"})))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tag = file.pages.first.tags["StripByteCounts"]
    data[tag.valueoffset + 4 : tag.valueoffset + 8] = bytes(4)
    assert refusal(bytes(data))[0] == "damaged"


def test_black_transparency_hides_and_even_transparency_does_not() -> None:
    for alpha, hidden in ((np.full_like(PIXELS, 0), 0), (np.full_like(PIXELS, 128), 0), (None, 40)):
        if alpha is None:
            alpha = np.full_like(PIXELS, 255)
            alpha[:hidden] = 0
        found = read(imagecodecs.png_encode(np.stack([PIXELS, alpha], axis=-1)))
        assert not found[:hidden].any()
        np.testing.assert_array_equal(found[hidden:], PIXELS[hidden:])


def test_premultiplied_alpha_is_not_applied_twice() -> None:
    alpha = np.full_like(PIXELS, 255)
    alpha[60:] = 128
    stored = np.where(alpha == 255, PIXELS, PIXELS // 2)
    options = {"photometric": "minisblack", "extrasamples": ["assocalpha"]}
    np.testing.assert_array_equal(read(pages((np.stack([stored, alpha], axis=-1), options))), stored)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits(bits: int) -> None:
    """Sixteen levels are shown as they are if they fill the scale; four or two are no radiograph."""
    levels = PIXELS >> (8 - bits)
    stream = io.BytesIO()
    palette = [level for value in range(1 << bits) for level in [value * 255 // ((1 << bits) - 1)] * 3]
    image = Image.fromarray(levels)
    image.putpalette(palette)
    image.save(stream, "PNG", bits=bits)
    if bits < 4:
        assert refusal(stream.getvalue())[0] == "under_exposed"
    else:
        assert np.unique(read(stream.getvalue())).size == 1 << bits
