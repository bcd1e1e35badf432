from __future__ import annotations

import cv2
import numpy as np
import pytest

from fractureai.phantoms.chest import render_chest
from fractureai.phantoms.render import REGIONS, VIEWS, PhantomSpec, render

SIZE_PX = (512, 448)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("view", VIEWS)
def test_draws_the_same_twelve_bit_picture_each_time(region: str, view: str) -> None:
    spec = PhantomSpec(region, view, True, 5, *SIZE_PX)
    first, second = render(spec), render(spec)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.fracture_box_px == second.fracture_box_px
    assert first.pixels.dtype == np.uint16
    assert first.pixels.shape == SIZE_PX
    assert first.pixels.max() <= 4095
    assert np.percentile(first.pixels, 99) - np.percentile(first.pixels, 1) > 1200
    assert first.laterality in ("L", "R")
    assert 0.05 < first.pixel_spacing_mm < 1.5


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_a_fracture_changes_its_neighbourhood_only(region: str, seed: int, view: str) -> None:
    broken = render(PhantomSpec(region, view, True, seed, *SIZE_PX))
    intact = render(PhantomSpec(region, view, False, seed, *SIZE_PX))
    assert intact.fracture_box_px is None
    assert intact.laterality == broken.laterality
    assert intact.pixel_spacing_mm == broken.pixel_spacing_mm
    assert broken.fracture_box_px is not None
    x0, y0, x1, y1 = broken.fracture_box_px
    assert 0 <= x0 < x1 <= SIZE_PX[1]
    assert 0 <= y0 < y1 <= SIZE_PX[0]
    change = np.abs(broken.pixels.astype(np.float32) - intact.pixels)
    inside = change[y0:y1, x0:x1]
    assert np.sqrt(np.square(inside).mean()) > 40, "the fracture must show"
    # The broken fragment moves as a whole, so change reaches beyond the box, but is densest in it.
    assert inside.mean() > 4 * change.mean()
    smooth = cv2.GaussianBlur(change, (0, 0), 6)
    assert smooth[y0:y1, x0:x1].max() > 0.5 * smooth.max()
    assert np.median(change) < 12, "most of the picture stays as it was"


def test_anatomy_varies_with_the_seed() -> None:
    pictures = [render(PhantomSpec("hand", "frontal", False, seed, 256, 224)).pixels for seed in range(6)]
    assert len({picture.tobytes() for picture in pictures}) == 6
    sides = {render(PhantomSpec("hand", "frontal", False, seed, 64, 56)).laterality for seed in range(12)}
    assert sides == {"L", "R"}


def test_views_of_one_seed_show_one_limb() -> None:
    views = [render(PhantomSpec("elbow", view, True, 4, 256, 224)) for view in VIEWS]
    assert len({phantom.laterality for phantom in views}) == 1
    assert all(phantom.fracture_box_px for phantom in views)


def test_resolution_changes_the_grid_not_the_picture() -> None:
    small = render(PhantomSpec("leg", "frontal", True, 2, 440, 350))
    large = render(PhantomSpec("leg", "frontal", True, 2, 880, 700))
    halved = large.pixels.reshape(440, 2, 350, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.pixels.ravel(), halved.ravel())[0, 1] > 0.97
    assert np.allclose(np.array(small.fracture_box_px) * 2, large.fracture_box_px, atol=4)


@pytest.mark.parametrize(
    "wrong",
    [{"region": "skull"}, {"view": "axial"}, {"seed": -1}, {"height_px": 8}],
)
def test_refuses_what_it_cannot_draw(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        PhantomSpec(**{"region": "hand", "view": "frontal", "fractured": False, "seed": 1, **wrong})  # type: ignore[arg-type]


def test_chest_has_dark_lungs_beside_a_bright_spine() -> None:
    chest = render_chest(3, 352, 352).astype(float)
    assert chest.tobytes() == render_chest(3, 352, 352).astype(float).tobytes()
    level = chest[140:170]
    spine = level[:, 170:182].mean()
    assert spine > 1.3 * level[:, 110:135].mean()
    assert spine > 1.3 * level[:, 217:242].mean()
