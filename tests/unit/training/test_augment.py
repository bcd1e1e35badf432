"""Fractures stay where they are while pictures turn; batches are balanced and repeatable."""

import numpy as np
import pytest

from fractureai.training.architecture import LOCAL_STRIDE_PX
from fractureai.training.augment import FRACTURE, INTACT, UNSURE, Recipe, carried, targets, vary
from fractureai.training.batches import BalancedSource
from fractureai.training.pictures import Picture, phantom_pictures, picture

WHOLE = Recipe(128, 96, 128, 96, strength=0.0)
WINDOW = Recipe(128, 128, 256, 192, strength=0.0)


def _marked(*, fractured: bool = True, region: int = 0) -> Picture:
    pixels = np.random.default_rng(0).integers(20, 60, (200, 160), np.uint8)
    pixels[90:120, 60:100] = 255
    boxes = np.array([[60, 90, 100, 120]] if fractured else [], np.float32).reshape(-1, 4)
    return picture(pixels, region, fractured=fractured, boxes=boxes)


@pytest.mark.parametrize("recipe", [WHOLE, WINDOW], ids=["whole", "window"])
def test_the_marked_cells_hold_the_fracture(recipe: Recipe) -> None:
    bright, dark = [], []
    tile = (recipe.height_px // LOCAL_STRIDE_PX, LOCAL_STRIDE_PX, recipe.width_px // LOCAL_STRIDE_PX, LOCAL_STRIDE_PX)
    for seed in range(30):
        view = vary(_marked(), recipe, np.random.default_rng(seed), [])
        tiles = view.image.reshape(tile).mean(axis=(1, 3))
        bright.extend(tiles[view.cells == FRACTURE])
        dark.extend(tiles[view.cells == INTACT])
    assert len(bright) > 20
    assert np.mean(bright) > np.mean(dark) + 60


def test_sides_reach_to_the_edges_of_the_fracture() -> None:
    box = np.array([[20, 40, 60, 100]], np.float32)
    cells, sides = targets(box, np.ones(1, np.float32), 8, 6)
    rows, columns = np.nonzero(cells == FRACTURE)
    assert len(rows) > 1
    for row, column in zip(rows, columns, strict=True):
        x, y = (column + 0.5) * LOCAL_STRIDE_PX, (row + 0.5) * LOCAL_STRIDE_PX
        np.testing.assert_allclose(sides[row, column], [x - 20, y - 40, 60 - x, 100 - y])
    assert (cells[0] == INTACT).all()


def test_a_turned_box_stays_about_its_fracture() -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    boxes, visible = carried(np.array([[10, 20, 30, 60]], np.float32), quarter, np.array([100.0, 0.0]), (100, 100))
    np.testing.assert_allclose(boxes, [[40, 10, 80, 30]], atol=0.01)
    assert visible == pytest.approx([1.0])


def test_a_cut_off_fracture_does_not_count() -> None:
    views = [vary(_marked(), WINDOW, np.random.default_rng(seed), []) for seed in range(80)]
    assert all(view.weight == 1 for view in views if view.fractured)
    assert {view.fractured for view in views} == {0.0, 1.0}


def test_a_fracture_of_unknown_place_marks_no_cell() -> None:
    view = vary(picture(_marked().pixels, 0, fractured=True), WHOLE, np.random.default_rng(1), [])
    assert view.fractured == 1
    assert (view.cells == UNSURE).all()


def test_appearance_changes_within_the_scale() -> None:
    recipe = Recipe(128, 96, 128, 96)
    others = [_marked().pixels]
    for seed in range(25):
        image = vary(_marked(), recipe, np.random.default_rng(seed), others).image
        assert np.isfinite(image).all()
        assert 0 <= image.min() <= image.max() <= 255


def test_batches_are_balanced_and_repeatable() -> None:
    pictures = [_marked(fractured=False) for _ in range(20)] + [_marked(), _marked(region=1)]
    source = BalancedSource(pictures, seed=5)
    batch = source.batch(3, 16, WHOLE)
    assert batch.image.shape == (16, 128, 96)
    assert batch.cells.shape == (16, 8, 6)
    assert 6 <= batch.fractured.sum() <= 16
    np.testing.assert_array_equal(batch.image, source.batch(3, 16, WHOLE).image)
    assert np.abs(batch.image - source.batch(4, 16, WHOLE).image).max() > 0


def test_a_side_that_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        Recipe(100, 96, 100, 96)


def test_phantoms_are_labelled_pictures() -> None:
    pictures = phantom_pictures(("elbow", "hand", "nowhere"), 4)
    assert {drawn.region for drawn in pictures} == {0, 1}
    for drawn in pictures:
        assert drawn.fractured == bool(len(drawn.boxes))
        assert max(drawn.pixels.shape) <= 512
