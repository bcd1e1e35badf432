"""Pictures to learn from: phantoms kept on disk, batches in balance."""

from pathlib import Path

import numpy as np
import pytest

from fractureai.training import pictures
from fractureai.training.augment import UNSURE, Recipe
from fractureai.training.batches import BalancedSource
from fractureai.training.pictures import NO_REGION, Picture, kept_phantoms, strangers

REGIONS = ("elbow", "hand")


def test_phantoms_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phantoms.npz"
    drawn = kept_phantoms(path, REGIONS, 3)
    monkeypatch.setattr(pictures, "render", lambda spec: pytest.fail(f"drew {spec} again"))
    kept = kept_phantoms(path, REGIONS, 3)
    for one, two in zip(drawn, kept, strict=True):
        np.testing.assert_array_equal(one.pixels, two.pixels)
        np.testing.assert_array_equal(one.boxes, two.boxes)
        assert (one.region, one.fractured) == (two.region, two.fractured)


def test_other_phantoms_are_drawn_anew(tmp_path: Path) -> None:
    path = tmp_path / "phantoms.npz"
    assert len(kept_phantoms(path, REGIONS, 2)) == 2
    assert len(kept_phantoms(path, REGIONS, 1)) == 1
    assert kept_phantoms(path, REGIONS, 0) == []


def test_phantoms_leave_the_labels_in_balance() -> None:
    nothing = np.zeros((0, 4), np.float32)
    real = [Picture(np.full((40, 40), 50, np.uint8), 0, bool(number % 2), nothing) for number in range(4)]
    phantom = Picture(np.full((40, 40), 50, np.uint8), 1, True, nothing)
    recipe = Recipe(size_px=32, canvas_px=32, whole=True)
    batch = BalancedSource(real, [phantom], extra_every=8).batch(0, 32, recipe)
    assert (batch.region == 1).sum() == 4
    assert batch.fractured[batch.region == 0].sum() == 14


def test_strangers_count_for_the_region_only() -> None:
    nothing = np.zeros((0, 4), np.float32)
    real = [Picture(np.full((40, 40), 50, np.uint8), 0, bool(number % 2), nothing) for number in range(4)]
    foreign = strangers(real, of_each=2)
    assert {picture.region for picture in foreign} == {NO_REGION}
    assert any(np.array_equal(picture.pixels, np.full((40, 40), 205, np.uint8)) for picture in foreign)
    batch = BalancedSource(real, (), foreign, foreign_every=8).batch(0, 16, Recipe(32, 32, whole=True))
    (places,) = np.nonzero(batch.region == NO_REGION)
    assert places.tolist() == [1, 9]
    assert batch.weight[places].tolist() == [0, 0]
    assert (batch.cells[places] == UNSURE).all()


def test_no_strangers_where_none_are_wanted() -> None:
    assert strangers([Picture(np.zeros((40, 40), np.uint8), 0, False, np.zeros((0, 4), np.float32))], of_each=0) == []
