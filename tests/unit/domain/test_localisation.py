"""Peaks of the map become boxes; what means the same place becomes one."""

from __future__ import annotations

import numpy as np
import pytest

from fractureai.domain.localisation import candidates, shared, turned_back


def _map(*peaks: tuple[int, int, float]) -> tuple[np.ndarray, np.ndarray]:
    cells, sides = np.full((10, 8), -6.0, np.float32), np.full((10, 8, 4), 12.0, np.float32)
    for row, column, logit in peaks:
        cells[row, column] = logit
    return cells, sides


def test_each_peak_is_a_box_around_its_cell_strongest_first() -> None:
    cells, sides = _map((2, 3, 1.0), (7, 6, 2.0))
    sides[7, 6] = [5, 10, 15, 20]
    found = candidates(cells, sides, stride_px=16, most=2)
    np.testing.assert_allclose(found.logits, [2, 1])
    np.testing.assert_allclose(found.boxes[0], [104 - 5, 120 - 10, 104 + 15, 120 + 20])
    np.testing.assert_allclose(found.boxes[1], [56 - 12, 40 - 12, 56 + 12, 40 + 12])


def test_neighbours_of_a_peak_are_no_boxes_of_their_own() -> None:
    cells, sides = _map((4, 4, 3.0), (4, 5, 2.5), (5, 4, 2.0))
    assert len(candidates(cells, sides, 16, 20).logits[candidates(cells, sides, 16, 20).logits > 0]) == 1


def test_overlapping_boxes_are_joined_to_the_strongest() -> None:
    cells, sides = _map((4, 2, 3.0), (4, 4, 2.5))
    sides[:] = 40
    found = candidates(cells, sides, 16, 5)
    assert (found.logits > 0).sum() == 1


def test_boxes_stay_on_the_canvas() -> None:
    cells, sides = _map((0, 0, 1.0), (9, 7, 1.0))
    sides[:] = 50
    boxes = candidates(cells, sides, 16, 2).boxes
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 8 * 16
    assert boxes[:, 3].max() <= 10 * 16


def test_shared_counts_against_the_smaller_box() -> None:
    assert shared(np.array([0, 0, 10, 10]), np.array([0, 0, 100, 100])) == pytest.approx(1)
    assert shared(np.array([0, 0, 10, 10]), np.array([10, 0, 20, 10])) == 0


def test_sides_of_a_turned_picture_come_back() -> None:
    sides = np.random.default_rng(0).uniform(1, 9, (4, 3, 4)).astype(np.float32)
    back = turned_back(sides)
    np.testing.assert_allclose(back[0, 0], sides[3, 2][[2, 3, 0, 1]])
    np.testing.assert_allclose(turned_back(back), sides)
