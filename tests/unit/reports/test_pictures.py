from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fractureai.reports.pictures import read_picture


def test_a_moderate_jpeg_is_taken_as_it_is(kit) -> None:
    jpeg = kit.encoded(kit.grey_picture(), "JPEG")
    picture = read_picture(jpeg, 100)
    assert picture is not None
    assert picture.jpeg == jpeg
    assert (picture.width_px, picture.height_px) == (400, 512)


def test_a_large_picture_is_made_smaller(kit) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (1024, 900), dtype=np.uint8)
    picture = read_picture(kit.encoded(noise, "PNG"), 1024)
    assert picture is not None
    assert max(picture.width_px, picture.height_px) <= 683
    assert picture.width_px / picture.height_px == pytest.approx(900 / 1024, abs=0.01)


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_any_mode_becomes_a_jpeg_that_pdf_knows(kit, mode) -> None:
    image = Image.new(mode, (40, 30))
    stream = BytesIO()
    image.save(stream, "TIFF" if mode == "CMYK" else "PNG")
    picture = read_picture(stream.getvalue(), 100)
    assert picture is not None
    with Image.open(picture.jpeg_fh()) as back:
        assert back.mode in ("L", "RGB")


@pytest.mark.parametrize("data", [None, b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_what_cannot_be_read_is_left_out(data) -> None:
    assert read_picture(data, 100) is None


def test_a_truncated_picture_is_left_out(kit) -> None:
    assert read_picture(kit.encoded(kit.grey_picture(), "PNG")[:400], 100) is None
