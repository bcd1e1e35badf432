from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fractureai.imaging.codec import CvCodec

CODEC = CvCodec()


@pytest.fixture
def blob() -> np.ndarray:
    """``(600, 400)`` attention with one peak at row 200, column 100."""
    rows, columns = np.mgrid[:600, :400]
    return np.exp(-(((rows - 200) / 60) ** 2 + ((columns - 100) / 60) ** 2)).astype(np.float32)


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (512, 300)])
def test_grey_goes_there_and_back(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    data = CODEC.encode_grey(pixels)
    np.testing.assert_array_equal(CODEC.decode_grey(data), pixels)
    np.testing.assert_array_equal(opened(data), pixels)
    assert CODEC.encode_grey(pixels) == data


def test_a_view_is_encoded_as_seen():
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    np.testing.assert_array_equal(CODEC.decode_grey(CODEC.encode_grey(pixels[::-1, 3:9])), pixels[::-1, 3:9])


@pytest.mark.parametrize("data", [b"", b"rubbish"])
def test_no_picture(data):
    with pytest.raises(ValueError, match="not a picture"):
        CODEC.decode_grey(data)


def test_heat_is_opaque_only_at_the_peak(blob):
    heat = opened(CODEC.heat(blob))
    assert heat.shape == (384, 256, 4)
    assert heat[128, 64, 3] > 250
    assert heat[350, 250, 3] == 0
    assert CODEC.heat(blob) == CODEC.heat(blob)


def test_heat_grows_lighter_and_more_opaque_with_attention():
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (8, 1))
    heat = opened(CODEC.heat(ramp))[4].astype(int)
    lightness = heat[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(heat[:, 3]) >= 0).all()
    assert (np.diff(lightness) > -1.5).all()
    assert lightness[-1] - lightness[0] > 120
    assert heat[0, 3] == 0


def test_not_a_number_is_no_attention():
    assert opened(CODEC.heat(np.full((20, 20), np.nan, np.float32)))[..., 3].max() == 0


def test_overlay_leaves_the_rest_of_the_picture_alone(blob):
    pixels = np.full((600, 400), 100, np.uint8)
    picture = opened(CODEC.overlay(pixels, blob)).astype(int)
    assert picture.shape == (600, 400, 3)
    assert np.abs(picture[450:, 250:] - 100).max() <= 3
    assert np.ptp(picture[200, 100]) > 60


def test_no_attention_leaves_the_whole_picture_alone():
    pixels = np.full((60, 40), 100, np.uint8)
    assert np.abs(opened(CODEC.overlay(pixels, np.zeros((60, 40), np.float32))).astype(int) - 100).max() <= 3


def test_one_pixel():
    pixel = np.zeros((1, 1), np.uint8)
    assert opened(CODEC.overlay(pixel, np.ones((1, 1), np.float32))).shape == (1, 1, 3)
