"""Fractures stay where they are while pictures turn; batches are balanced and repeatable."""

import numpy as np

from fractureai.training.augment import FRACTURE, UNSURE, Recipe, vary
from fractureai.training.batches import BalancedSource, whole
from fractureai.training.pictures import Picture, phantom_pictures

WINDOW = Recipe(size_px=128, canvas_px=256, whole=False, intensity=0.0)


def _marked(fractured: bool = True, region: int = 0) -> Picture:
    pixels = np.zeros((200, 160), np.uint8)
    pixels[90:120, 60:100] = 255
    boxes = [[60, 90, 100, 120]] if fractured else []
    return Picture(pixels, region, fractured, np.array(boxes, np.float32).reshape(-1, 4))


def test_the_marked_cells_hold_the_fracture() -> None:
    bright, dark = [], []
    for seed in range(30):
        view = vary(_marked(), WINDOW, np.random.default_rng(seed))
        tiles = view.image.reshape(4, 32, 4, 32).mean(axis=(1, 3))
        bright.extend(tiles[view.cells == FRACTURE])
        dark.extend(tiles[view.cells == 0])
    assert len(bright) > 20
    assert np.mean(bright) > np.mean(dark) + 40


def test_a_cut_off_fracture_does_not_count() -> None:
    views = [vary(_marked(), WINDOW, np.random.default_rng(seed)) for seed in range(60)]
    assert all(view.weight == 1 for view in views if view.fractured)
    assert {view.fractured for view in views} == {0.0, 1.0}


def test_a_fracture_of_unknown_place_marks_no_cell() -> None:
    picture = Picture(_marked().pixels, 0, True, np.zeros((0, 4), np.float32))
    view = vary(picture, whole(WINDOW), np.random.default_rng(0))
    assert view.fractured == 1
    assert (view.cells == UNSURE).all()


def test_batches_are_balanced_and_repeatable() -> None:
    pictures = [_marked(fractured=False) for _ in range(40)] + [_marked(), _marked(region=1)]
    source = BalancedSource(pictures, seed=5)
    batch = source.batch(3, 16, whole(WINDOW))
    assert batch.image.shape == (16, 256, 256, 1)
    assert 8 <= batch.fractured.sum() <= 16
    np.testing.assert_array_equal(batch.image, source.batch(3, 16, whole(WINDOW)).image)
    assert np.abs(batch.image - source.batch(4, 16, whole(WINDOW)).image).max() > 0


def test_phantoms_are_labelled_pictures() -> None:
    pictures = phantom_pictures(("elbow", "hand", "nowhere"), 4)
    assert {picture.region for picture in pictures} == {0, 1}
    for picture in pictures:
        assert picture.fractured == bool(len(picture.boxes))
        assert max(picture.pixels.shape) <= 512
