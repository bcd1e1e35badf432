"""The region of interest is where the attention is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractureai.domain.canvas import Canvas, Placement
from fractureai.domain.limb import Rectangle
from fractureai.domain.roi import (
    clipped_box,
    relative_attention,
    rescale_box,
    roi_from_attention,
    square_extent,
    widened,
)


def _whole(height: int, width: int) -> Placement:
    return Placement(height, width, Rectangle(0, 0, width, height), Canvas(448, 448))


def test_nothing_positive_gives_no_region() -> None:
    assert roi_from_attention(np.full((7, 7), -1, np.float32), _whole(500, 400)) is None


def test_the_region_holds_the_peak_and_not_a_weaker_spot_elsewhere() -> None:
    cells = np.zeros((14, 14), np.float32)
    cells[3, 4] = 1
    cells[11, 11] = 0.9
    x0, y0, x1, y1 = roi_from_attention(cells, _whole(1400, 1400)) or (0, 0, 0, 0)
    assert x0 < 450 < x1
    assert y0 < 350 < y1
    assert x1 < 1000
    assert y1 < 1000


@given(
    row=st.integers(0, 6), column=st.integers(0, 6), height=st.integers(1, 2000), width=st.integers(1, 2000)
)  # fmt: skip
def test_the_region_is_within_the_image(row: int, column: int, height: int, width: int) -> None:
    cells = np.full((7, 7), 0.01, np.float32)
    cells[row, column] = 3
    box = roi_from_attention(cells, _whole(height, width))
    assert box is not None
    x0, y0, x1, y1 = box
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


@given(
    sides=st.tuples(*(st.floats(-50, 2050),) * 4), height=st.integers(1, 2000), width=st.integers(1, 2000)
)  # fmt: skip
def test_boxes_are_clipped_and_widened_within_the_image(
    sides: tuple[float, float, float, float], height: int, width: int
) -> None:
    x0, x1 = sorted(sides[:2])
    y0, y1 = sorted(sides[2:])
    clipped = clipped_box((x0, y0, x1, y1), height, width)
    wide = widened(clipped, height, width)
    for left, top, right, bottom in (clipped, wide):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    assert wide[0] <= clipped[0]
    assert wide[2] >= clipped[2]


def test_relative_attention_peaks_at_one() -> None:
    relative = relative_attention(np.array([[-2, 4], [2, 0]], np.float32))
    np.testing.assert_array_equal(relative, [[0, 1], [0.5, 0]])
    assert not relative_attention(np.full((2, 2), -1, np.float32)).any()


@pytest.mark.parametrize(
    ("source_px", "picture_px", "shown_px"),
    [
        ((660, 1056), (1024, 819), (1320, 1056)),
        ((1320, 528), (1024, 819), (1320, 1056)),
        ((1320, 1056), (1024, 819), (1320, 1056)),
        ((1200, 40), (1024, 34), (1200, 40)),
    ],
)
def test_a_source_of_oblong_pixels_is_shown_on_a_grid_of_square_ones(
    source_px: tuple[int, int], picture_px: tuple[int, int], shown_px: tuple[int, int]
) -> None:
    assert square_extent(source_px, picture_px) == pytest.approx(shown_px, rel=0.002)


def test_a_box_is_carried_to_another_grid() -> None:
    assert rescale_box((10, 20, 30, 40), (100, 200), (200, 800)) == (40, 40, 120, 80)
    x0, _, x1, _ = rescale_box((199, 0, 200, 1), (100, 200), (10, 20))
    assert (x0, x1) == (19, 20)
    assert rescale_box((0, 0, 1, 1), (100, 100), (10, 10)) == pytest.approx((0, 0, 1, 1))
