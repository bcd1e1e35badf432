"""Pictures to learn from: phantoms kept on disk, batches in balance."""

from pathlib import Path

import numpy as np
import pytest

from fractureai.training import pictures
from fractureai.training.augment import UNSURE, Recipe
from fractureai.training.batches import BalancedSource
from fractureai.training.pictures import NO_REGION, Picture, kept_phantoms, picture, strangers

REGIONS = ("elbow", "hand")
SMALL = Recipe(32, 32, 32, 32)


def _plain(region: int = 0, *, fractured: bool = False) -> Picture:
    return picture(np.full((40, 40), 50, np.uint8), region, fractured=fractured)


def test_phantoms_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phantoms.npz"
    drawn = kept_phantoms(path, REGIONS, 3)
    monkeypatch.setattr(pictures, "render", lambda spec: pytest.fail(f"drew {spec} again"))
    kept = kept_phantoms(path, REGIONS, 3)
    for one, two in zip(drawn, kept, strict=True):
        np.testing.assert_array_equal(one.pixels, two.pixels)
        np.testing.assert_array_equal(one.boxes, two.boxes)
        assert (one.region, one.fractured, one.limb) == (two.region, two.fractured, two.limb)


def test_a_changed_number_of_phantoms_is_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "phantoms.npz"
    assert len(kept_phantoms(path, REGIONS, 2)) == 2
    assert len(kept_phantoms(path, REGIONS, 1)) == 1
    assert kept_phantoms(path, REGIONS, 0) == []


def test_phantoms_and_strangers_have_their_share() -> None:
    real = [_plain(fractured=bool(number % 2)) for number in range(4)]
    source = BalancedSource(real, [_plain(1, fractured=True)], strangers(of_each=1), extra_share=0.2, foreign_share=0.1)
    batch = source.batch(0, 400, SMALL)
    assert 50 < (batch.region == 1).sum() < 110
    assert 20 < (batch.region == NO_REGION).sum() < 65
    assert batch.fractured[batch.region == 0].mean() == pytest.approx(0.5, abs=0.06)


def test_strangers_count_for_the_region_only() -> None:
    foreign = strangers(of_each=1)
    assert {drawn.region for drawn in foreign} == {NO_REGION}
    batch = BalancedSource([_plain(), _plain(fractured=True)], (), foreign, foreign_share=0.5).batch(0, 16, SMALL)
    (places,) = np.nonzero(batch.region == NO_REGION)
    assert len(places)
    assert not batch.weight[places].any()
    assert (batch.cells[places] == UNSURE).all()


def test_no_strangers_where_none_are_wanted() -> None:
    assert strangers(of_each=0) == []
