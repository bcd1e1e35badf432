from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.raster import read_raster

LIMITS = DecodeLimits()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(data: bytes, limits: DecodeLimits = LIMITS):
    media_type = media.sniff(data[:512]).media_type
    assert media_type is not None
    return read_raster(data, media_type, limits)


def reason(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(RejectedInput) as caught:
        read(data, limits)
    return caught.value.code


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_lossless_levels_stay_as_they_are(ramp, mode, kind):
    image = Image.fromarray(ramp)
    image = image.convert("RGB").quantize(256) if mode == "P" else image.convert(mode)
    if mode == "P":
        image = Image.fromarray(ramp)
        image.putpalette([level for level in range(256) for _ in range(3)])
    read_back = read(saved(image, kind))
    np.testing.assert_array_equal(read_back.pixels, ramp)
    assert (read_back.source_height_px, read_back.source_width_px) == (64, 96)
    assert read_back.header.media_type == {"PNG": "image/png", "TIFF": "image/tiff"}[kind]


def test_webp_lossless(ramp):
    read_back = read(saved(Image.fromarray(ramp), "WEBP", lossless=True))
    np.testing.assert_allclose(read_back.pixels.astype(int), ramp, atol=1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_gives_its_own_luma(ramp, mode):
    data = saved(Image.fromarray(ramp).convert(mode), "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    np.testing.assert_allclose(read(data).pixels.astype(int), expected, atol=1)


def ramps(low: float, high: float, dtype: str) -> np.ndarray:
    """``(64, 96)``: every column one value."""
    return np.tile(np.linspace(low, high, 96), (64, 1)).astype(dtype)


def test_sixteen_bits_keep_their_levels_if_they_fill_the_scale():
    assert read(saved(Image.fromarray(ramps(0, 65535, "uint16")), "PNG")).pixels[0, [0, 48, 95]].tolist() == [
        0,
        129,
        255,
    ]


def test_twelve_bits_in_sixteen_are_spread():
    pixels = read(saved(Image.fromarray(ramps(0, 4095, "uint16")), "PNG")).pixels
    assert (int(pixels.min()), int(pixels.max())) == (0, pytest.approx(204, abs=6))


def test_white_as_zero_is_inverted_at_eight_and_sixteen_bits():
    for dtype, top in (("uint8", 255), ("uint16", 65535)):
        pixels = read(saved(Image.fromarray(ramps(0, top, dtype)), "TIFF", tiffinfo={262: 0})).pixels
        # Pillow inverts 8 bits when it writes white as zero, 16 not.
        assert pixels[0, [0, 95]].tolist() == ([0, 255] if dtype == "uint8" else [255, 0])


def test_floating_point_tiff_has_the_range_of_its_values():
    pixels = read(saved(Image.fromarray(ramps(-1, 1, "float32")), "TIFF")).pixels[0, [0, 47, 95]].astype(int)
    assert np.abs(pixels - [10, 112, 214]).max() <= 4


def test_black_and_white_is_no_radiograph():
    pixels = np.zeros((40, 40), bool)
    pixels[:, 20:] = True
    assert reason(saved(Image.fromarray(pixels), "PNG")) == "under_exposed"
    assert reason(saved(Image.fromarray(pixels), "TIFF")) == "under_exposed"


def test_transparent_pixels_are_black(ramp):
    alpha = np.full_like(ramp, 255)
    alpha[:10] = 0
    image = Image.merge("LA", (Image.fromarray(ramp), Image.fromarray(alpha)))
    pixels = read(saved(image, "PNG")).pixels
    assert pixels[:10].max() == 0
    np.testing.assert_array_equal(pixels[10:], ramp[10:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation):
    upright = np.kron(np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3), np.ones((40, 40), np.uint8))
    # What a camera that was held so would have stored: the inverse of the turn that EXIF asks for.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    read_back = read(saved(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif))
    np.testing.assert_array_equal(read_back.pixels, upright)
    assert (read_back.source_height_px, read_back.source_width_px) == upright.shape


def test_large_images_are_averaged_down():
    checker = np.indices((2048, 1024)).sum(axis=0) % 2 * 100 - 50
    levels = np.linspace(50, 205, 2048)[:, None]
    read_back = read(saved(Image.fromarray((levels + checker).astype(np.uint8)), "PNG"))
    assert read_back.pixels.shape == (1024, 512)
    np.testing.assert_allclose(read_back.pixels[:, 0], np.linspace(50, 205, 1024), atol=1)
    assert (read_back.source_height_px, read_back.source_width_px) == (2048, 1024)


def test_colour_is_refused_and_a_small_marker_is_not(ramp):
    colour = np.stack([ramp, ramp[:, ::-1], ramp], axis=-1)
    assert reason(saved(Image.fromarray(colour), "PNG")) == "colour_image"
    assert reason(saved(Image.fromarray(colour), "JPEG")) == "colour_image"
    marked = np.stack([ramp] * 3, axis=-1)
    marked[2:6, 2:6] = (255, 0, 0)
    assert read(saved(Image.fromarray(marked), "PNG")).pixels.shape == ramp.shape


def test_cmyk_jpeg_is_refused_as_colour(ramp):
    assert reason(saved(Image.fromarray(ramp).convert("CMYK"), "JPEG")) == "colour_image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(ramp, kind):
    frames = [Image.fromarray(ramp), Image.fromarray(ramp[::-1, ::-1].copy())]
    assert reason(saved(frames[0], kind, save_all=True, append_images=frames[1:])) == "multi_frame"


@pytest.mark.parametrize("extent", [(1, 1), (31, 500), (500, 31)])
def test_thumbnails_are_refused(extent):
    assert reason(saved(Image.new("L", extent), "PNG")) == "too_small"


def test_floods_are_refused_before_decoding(png_header):
    assert reason(png_header(20_000, 20_000)) == "too_many_pixels"
    assert reason(png_header(8_000, 5_001)) == "too_many_pixels"
    assert reason(png_header(2**31 - 1, 2**31 - 1)) == "too_many_pixels"


def test_blank_images_are_refused(ramp):
    assert reason(saved(Image.new("L", (64, 64), 200), "PNG")) == "blank_image"
    assert reason(saved(Image.fromarray(np.full((64, 64), 4000, np.uint16)), "PNG")) == "blank_image"
    not_a_number = np.full((64, 64), np.nan, np.float32)
    assert reason(saved(Image.fromarray(not_a_number), "TIFF")) == "blank_image"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_files_are_damaged(kind, part):
    noise = np.random.default_rng(3).integers(0, 255, (200, 200), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    assert reason(data[: int(len(data) * part)]) == "damaged"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_any_damage_is_a_reason_or_a_picture(kind):
    """Bytes overwritten anywhere never raise anything but ``RejectedInput``."""
    rng = np.random.default_rng(11)
    good = saved(Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)), kind)
    for _ in range(60):
        data = bytearray(good)
        for at in rng.integers(12, len(data), 6):
            data[at] = rng.integers(0, 256)
        try:
            read(bytes(data))
        except RejectedInput:
            continue


def test_broken_exif_is_no_reason_to_refuse(ramp):
    data = saved(Image.fromarray(ramp), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish")
    assert read(data).pixels.shape == ramp.shape
