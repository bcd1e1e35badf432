"""The used range of a picture: what is left as it is, what is spread, what is refused."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from fractureai.errors import RejectedInput
from fractureai.imaging.grayscale import every_level, fill_scale, filling, grid
from fractureai.phantoms.render import REGIONS, PhantomSpec, render

NEARLY = 32
"""An eighth of the scale: how bright the whiteness of the whole picture was, a dim one does not tell."""


@cache
def phantom(region: str = "elbow", seed: int = 2) -> np.ndarray:
    """``(440, 352)`` uint16, 0..65520."""
    drawn = render(PhantomSpec(region, "frontal", fractured=True, seed=seed, height_px=440, width_px=352)).pixels
    return (drawn << 4).astype(np.uint16)


def refused(pixels: np.ndarray) -> str:
    with pytest.raises(RejectedInput) as caught:
        fill_scale(pixels)
    return caught.value.code


@pytest.mark.parametrize("region", REGIONS)
def test_a_picture_that_fills_its_scale_stays_as_it_is(region: str) -> None:
    eight = (phantom(region) >> 8).astype(np.uint8)
    np.testing.assert_array_equal(fill_scale(eight), eight)
    np.testing.assert_array_equal(fill_scale(eight / np.float32(255)), eight)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("shift", [1, 2])
def test_half_and_quarter_of_a_scale_are_nearly_the_whole(region: str, shift: int) -> None:
    whole = fill_scale(phantom(region)).astype(int)
    for dim in (phantom(region) >> shift, (phantom(region) >> (8 + shift)).astype(np.uint8)):
        difference = np.abs(fill_scale(dim) - whole)
        assert difference.max() <= NEARLY
        assert difference.mean() <= 12


def test_the_levels_do_not_jump_where_spreading_begins() -> None:
    """Dimmed step by step, a picture changes step by step."""
    shown = phantom() / np.float32(65535)
    means = [float(fill_scale(shown * factor).mean()) for factor in np.linspace(1, 0.4, 61)]
    assert np.abs(np.diff(means)).max() < 2.5


def test_the_order_of_levels_is_kept() -> None:
    dim = (phantom() >> 9).astype(np.uint8)
    table = np.full(256, -1)
    table[dim.ravel()] = fill_scale(dim).ravel()
    assert (np.diff(table[table >= 0]) >= 0).all()


def framed(pixels: np.ndarray, level: int, *, rows: int = 30) -> np.ndarray:
    with_frame = np.full((pixels.shape[0] + 2 * rows, pixels.shape[1] + 2 * rows), level, pixels.dtype)
    with_frame[rows:-rows, rows:-rows] = pixels
    return with_frame


@pytest.mark.parametrize("level", [0, 255])
def test_frames_and_collimators_do_not_count(level: int) -> None:
    dim = (phantom() >> 10).astype(np.uint8)
    inside = fill_scale(framed(dim, level))[30:-30, 30:-30].astype(int)
    assert np.abs(inside - fill_scale(dim)).max() <= NEARLY


def test_an_oblique_black_collimator_does_not_count() -> None:
    """Around a picture whose window spans four times its range, so that black is far below it."""
    washed = (phantom() / 65535 / 4 * 255 + 100).astype(np.uint8)
    field = np.zeros_like(washed)
    cv2.fillConvexPoly(field, np.array([[80, 5], [345, 60], [270, 435], [5, 380]]), (1,))
    inside = cv2.erode(field, np.ones((3, 3))) > 0
    found = fill_scale(washed * field)[inside].astype(int)
    assert np.abs(found - fill_scale(washed)[inside]).max() <= NEARLY


def test_a_burned_in_mark_does_not_count() -> None:
    dim = (phantom() >> 10).astype(np.uint8)
    marked = cv2.putText(dim.copy(), "R 12:30", (10, 430), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,))
    assert np.abs(fill_scale(marked)[:400].astype(int) - fill_scale(dim)[:400]).max() <= NEARLY


def test_what_is_marked_as_unexposed_does_not_count() -> None:
    shown = phantom() / np.float32(65535) / 4
    padded = shown.copy()
    padded[:60] = np.nan
    found = fill_scale(padded)
    assert not found[:60].any()
    assert np.abs(found[60:].astype(int) - fill_scale(shown)[60:]).max() <= NEARLY


def noise(sigma: float, level: int = 2000) -> np.ndarray:
    return np.random.default_rng(1).normal(level, sigma, (500, 400)).clip(0).astype(np.uint16)


def test_what_cannot_be_spread_is_refused() -> None:
    assert refused((phantom() >> 12).astype(np.uint8)) == "under_exposed"  # 16 levels
    assert refused(noise(5)) == "under_exposed"
    assert refused(noise(200)) == "under_exposed"
    assert refused(((phantom() > 30000) * 255).astype(np.uint8)) == "under_exposed"
    assert refused(((phantom() > 30000) * 40).astype(np.uint8)) == "under_exposed"
    assert refused(np.full((200, 200), 7, np.uint8)) == "blank_image"
    assert refused(np.full((200, 200), np.nan)) == "blank_image"


def test_only_a_picture_is_taken() -> None:
    with pytest.raises(ValueError, match="picture"):
        fill_scale(np.zeros((4, 4, 3), np.uint8))


def test_the_measure_is_of_the_thinned_picture() -> None:
    """Large or small, the same content is filled alike."""
    dim = (phantom() >> 10).astype(np.uint8)
    large = np.kron(dim, np.ones((4, 4), np.uint8))
    gains = [filling(every_level(np.uint8)[grid(pixels)]).gain for pixels in (dim, large)]
    assert gains[0] == pytest.approx(gains[1], rel=0.05)
