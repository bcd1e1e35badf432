"""The canvas: what a network sees, and the way back to the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractureai.domain.canvas import Canvas, Placement, lay, place, stretched
from fractureai.domain.limb import Rectangle

CANVAS = Canvas(96, 64)
extents = st.integers(1, 3000)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    height, width = draw(extents), draw(extents)
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    part = Rectangle(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))
    return Placement(height, width, part, draw(st.sampled_from([CANVAS, Canvas(480, 384), Canvas(224, 224)])))


def _textured(height: int, width: int, part: Rectangle, seed: int = 0) -> np.ndarray:
    """A limb of sorts: broad texture in a part of a plain ground."""
    image = np.full((height, width), 20, np.uint8)
    grain = np.random.default_rng(seed).uniform(60, 220, (part.height_px // 8 + 1, part.width_px // 8 + 1))
    image[part.y0 : part.y1, part.x0 : part.x1] = np.kron(grain, np.ones((8, 8)))[: part.height_px, : part.width_px]
    return image


@given(placements())
def test_boxes_come_back_where_they_were(placement: Placement) -> None:
    x0, y0, x1, y1 = placement.part
    there = np.array([[x0, y0, x1, y1], [x0, y0, (x0 + x1) / 2, (y0 + y1) / 2]], np.float32)
    np.testing.assert_allclose(placement.to_image(placement.to_canvas(there)), there, rtol=1e-3, atol=5e-2)


@given(placements())
def test_the_part_is_centred_upright_and_fills_the_canvas(placement: Placement) -> None:
    x0, y0, x1, y1 = placement.to_canvas(np.array([placement.part], np.float32))[0]
    height, width = placement.canvas.height_px, placement.canvas.width_px
    assert x0 >= -1e-2
    assert y0 >= -1e-2
    assert x1 <= width + 1e-2
    assert y1 <= height + 1e-2
    assert abs(x0 - (width - x1)) <= 1 + 1e-2
    assert abs(y0 - (height - y1)) <= 1 + 1e-2
    assert max((x1 - x0) / width, (y1 - y0) / height) > 0.98


def test_a_lying_limb_is_turned_clockwise() -> None:
    placement = Placement(50, 100, Rectangle(0, 0, 100, 50), CANVAS)
    left_end = placement.to_canvas(np.array([[0, 20, 10, 30]], np.float32))[0]
    assert placement.turned
    assert left_end[1] == pytest.approx(0, abs=1)
    assert left_end[3] < 20


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_drawn_is_where_the_boxes_go(turned: bool) -> None:
    image = _textured(300, 200, Rectangle(30, 40, 170, 280))
    image[100:130, 60:90] = 255
    box = np.array([[60, 100, 90, 130]], np.float32)
    if turned:
        image = np.ascontiguousarray(np.rot90(image))
        box = np.array([[100, 200 - 90, 130, 200 - 60]], np.float32)
    placement = place(image, Canvas(192, 128))
    x0, y0, x1, y1 = np.rint(placement.to_canvas(box)[0]).astype(int)
    canvas = lay(image, placement)
    assert canvas[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].mean() > 240
    over = placement.over_image((canvas > 250).astype(np.float32))
    bx0, by0, bx1, by1 = box[0].astype(int)
    assert over[by0 + 3 : by1 - 3, bx0 + 3 : bx1 - 3].mean() > 0.9


def test_position_padding_and_polarity_hardly_move_the_cut() -> None:
    limb = Rectangle(40, 30, 140, 290)
    plain = place(_textured(320, 200, limb), CANVAS).part
    padded = place(np.pad(_textured(320, 200, limb), ((300, 0), (0, 200)), constant_values=5), CANVAS).part
    inverted = place(255 - _textured(320, 200, limb), CANVAS).part
    assert inverted == plain
    assert np.abs(np.array(padded) - np.array(plain) - [0, 300, 0, 300]).max() <= 30
    assert plain.x0 <= 40
    assert plain.x1 >= 140


def test_nothing_to_see_keeps_the_whole_picture() -> None:
    assert place(np.full((80, 120), 7, np.uint8), CANVAS).part == (0, 0, 120, 80)


def test_exposure_does_not_reach_the_network() -> None:
    image = _textured(320, 200, Rectangle(40, 30, 140, 290))
    full, dim = (lay(one, place(image, CANVAS)) for one in (image, image // 4))
    assert np.abs(full - dim).mean() < 4


def test_noise_is_not_stretched_into_a_picture() -> None:
    assert np.ptp(stretched(np.array([[100, 101], [102, 100]], np.float32))) < 40


def test_shrinking_averages_so_that_a_thin_line_stays_visible() -> None:
    image = np.full((1024, 768), 200, np.uint8)
    image[::2, :] = 100
    image[:, 384:386] = 0
    placement = Placement(1024, 768, Rectangle(0, 0, 768, 1024), Canvas(256, 192))
    canvas = lay(image, placement)
    assert canvas[:, 95:97].mean() < canvas[:, :90].mean() - 20


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32)])
def test_what_is_no_grey_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        place(image, CANVAS)


def test_a_placement_survives_its_json() -> None:
    placement = Placement(300, 200, Rectangle(1, 2, 190, 299), CANVAS)
    assert Placement.from_json(placement.to_json()) == placement


def test_a_hot_cell_is_over_the_pixels_it_saw() -> None:
    placement = Placement(400, 400, Rectangle(0, 0, 400, 400), Canvas(256, 256))
    cells = np.zeros((8, 8), np.float32)
    cells[2, 5] = 1
    row, column = np.unravel_index(placement.over_image(cells).argmax(), (400, 400))
    assert (row, column) == (pytest.approx(2.5 * 50, abs=3), pytest.approx(5.5 * 50, abs=3))
