"""The canvas: what a network sees, and the way back to the source image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractureai.domain.canvas import Letterbox, crop_map, fit

extents = st.integers(1, 3000)


@given(height=extents, width=extents, size=st.sampled_from([160, 224, 448]))
def test_boxes_come_back_where_they_were(height: int, width: int, size: int) -> None:
    box = Letterbox(height, width, size)
    there = np.array([[0, 0, width, height], [width / 4, height / 4, width / 2, height / 2]], np.float32)
    np.testing.assert_allclose(box.to_source(box.to_canvas(there)), there, rtol=1e-3, atol=1e-2)


@given(height=extents, width=extents, size=st.sampled_from([160, 224, 448]))
def test_the_image_lies_centred_within_the_canvas(height: int, width: int, size: int) -> None:
    box = Letterbox(height, width, size)
    corners = box.to_canvas(np.array([[0, 0, width, height]], np.float32))[0]
    assert corners[0] >= 0
    assert corners[1] >= 0
    assert corners[2] <= size + 1e-3
    assert corners[3] <= size + 1e-3
    assert abs(corners[0] - (size - corners[2])) <= 1 + 1e-3
    assert max(box.inner_height_px, box.inner_width_px) == size


def test_fit_keeps_grey_values_and_pads_with_black() -> None:
    canvas = fit(np.full((100, 50), 200, np.uint8), 64)
    assert canvas.shape == (64, 64)
    assert canvas.dtype == np.float32
    np.testing.assert_array_equal(canvas[:, :16], 0)
    np.testing.assert_array_equal(canvas[:, 16:48], 200)


def test_shrinking_averages_so_that_a_thin_line_stays_visible() -> None:
    image = np.full((1024, 1024), 200, np.uint8)
    image[:, 512:514] = 0
    canvas = fit(image, 256)
    assert canvas.min() == pytest.approx(100, abs=1)


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32)])
def test_fit_refuses_what_is_not_a_grey_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        fit(image, 64)


def test_a_hot_cell_lands_on_the_pixels_it_saw() -> None:
    cells = np.zeros((8, 8), np.float32)
    cells[2, 5] = 1
    over = crop_map(cells, 400, 400)
    row, column = np.unravel_index(over.argmax(), over.shape)
    assert (row, column) == (pytest.approx(2.5 * 50, abs=3), pytest.approx(5.5 * 50, abs=3))


def test_the_border_of_the_canvas_is_cut_off() -> None:
    cells = np.zeros((8, 8), np.float32)
    cells[:, :2] = 1  # the pad to the left of an upright image
    assert crop_map(cells, 800, 400)[:, 100:].max() < 0.5


def test_attention_on_the_border_of_the_canvas_is_not_attention_on_the_image() -> None:
    cells = np.zeros((10, 10), np.float32)
    cells[:, 0] = cells[:, 9] = 5  # an image of four to five leaves a cell of border on each side
    cells[4, 6] = 1
    over = crop_map(cells, 1000, 800)
    assert over.max() <= 1
    row, column = np.unravel_index(over.argmax(), over.shape)
    assert (row, column) == (pytest.approx(450, abs=4), pytest.approx(550, abs=4))
