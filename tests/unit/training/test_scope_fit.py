import shutil

import numpy as np
import pytest

from fractureai.errors import BrokenDeployment
from fractureai.training.exposure import exposure_pictures
from fractureai.training.out_of_scope import dicom_pictures, drawn_pictures, photographs
from fractureai.training.scope_fit import (
    SHAPES,
    Exposure,
    Readings,
    Shape,
    accepted_by_kind,
    choose_limits,
    choose_shape,
    describe,
    fit_scope,
)

FEATURES = 60


def _limbs(seed, images=200):
    rng = np.random.default_rng(seed)
    centres = np.abs(np.random.default_rng(99).normal(size=(5, FEATURES)))
    return np.abs(centres[rng.integers(0, 5, images)] + 0.2 * rng.normal(size=(images, FEATURES))).astype(np.float32)


def _foreign(seed, images=100):
    return np.abs(np.random.default_rng(seed).normal(size=(images, FEATURES))).astype(np.float32)


def _readings(features, seed=0, low=0.8):
    confidence = np.random.default_rng(seed).uniform(low, 1.0, len(features))
    return Readings(features, confidence, ("limb",) * len(features))


def test_limbs_score_above_foreign_pictures():
    shape = choose_shape(_limbs(0), _limbs(1), _foreign(2))
    model = fit_scope(_limbs(0), shape)
    limits = choose_limits(model, _readings(_limbs(1)), accept=0.97)
    told = describe(model, limits, _readings(_limbs(3)), _readings(_foreign(4), low=0.2))
    assert shape in SHAPES
    assert told["auc"] > 0.98
    assert told["auc_with_confidence"] > 0.98
    assert told["accepted"] > 0.9
    assert told["foreign_accepted"] < 0.1


@pytest.mark.parametrize("accept", [0.9, 0.97])
@pytest.mark.parametrize("low", [0.3, 0.99])
def test_the_limits_let_through_the_share_asked_for(accept, low):
    model = fit_scope(_limbs(0), Shape(16, residual=True))
    held_out = _readings(_limbs(1), low=low)
    limits = choose_limits(model, held_out, accept)
    assert accept - 0.01 <= limits.accepted_share <= accept + 0.035
    passed = (model.score(held_out.features) >= np.float32(limits.threshold)) & (
        held_out.confidence >= limits.min_region_probability
    )
    assert passed.mean() == limits.accepted_share
    assert 0.3 <= limits.min_region_probability <= 0.9


def test_the_score_does_not_depend_on_the_order_of_the_images():
    known = _limbs(0)
    model, shuffled = (fit_scope(rows, Shape(8, residual=True)) for rows in (known, known[::-1].copy()))
    np.testing.assert_allclose(model.score(_foreign(1)), shuffled.score(_foreign(1)), rtol=1e-3)


def test_the_length_of_the_features_tells_flat_pictures():
    flat = _limbs(5) * 0.2
    shape = choose_shape(_limbs(0), _limbs(1), flat)
    assert shape.length
    model = fit_scope(_limbs(0), shape)
    assert model.score(_limbs(1)).min() > model.score(flat).max()


def _close_by(seed, images=60):
    """Limbs but for a small change of a few features: what principal components overlook."""
    changed = _limbs(seed, images)
    changed[:, :3] += 0.5
    return changed


def test_drawn_foreign_pictures_show_where_to_look():
    shown = Exposure(_close_by(6), ("chest",) * 60)
    plain, closer = (Shape(16, residual=False, contrast=contrast) for contrast in (0.0, 2.0))
    assert choose_shape(_limbs(0), _limbs(1), _close_by(7), shown, (plain, closer)) == closer
    model = fit_scope(_limbs(0), closer, shown)
    limits = choose_limits(model, _readings(_limbs(1)), accept=0.97)
    told = describe(model, limits, _readings(_limbs(3)), _readings(_close_by(8)))
    assert told["accepted"] > 0.9
    assert told["foreign_accepted"] < 0.2


def test_no_contrast_is_chosen_without_drawn_foreign_pictures():
    assert choose_shape(_limbs(0), _limbs(1), _close_by(7)).contrast == 0.0


def test_exposure_pictures_are_grey_and_repeatable():
    first, again = (list(exposure_pictures(1, seed=4)) for _ in range(2))
    assert [kind for kind, _ in first][:2] == ["chest", "clouds"]
    assert len({kind for kind, _ in first}) == len(first)
    for (_, one), (_, two) in zip(first, again, strict=True):
        assert one.dtype == np.uint8
        assert one.ndim == 2
        np.testing.assert_array_equal(one, two)


def test_too_few_images_cannot_make_a_rule():
    with pytest.raises(BrokenDeployment, match="more than 2"):
        fit_scope(_limbs(0, images=2), Shape(8, residual=False))


def test_parts_and_counts():
    readings = Readings(np.zeros((3, 2), np.float32), np.ones(3), ("chest", "text", "chest"))
    assert readings.where(np.array([True, False, True])).kinds == ("chest", "chest")
    assert accepted_by_kind(np.array([True, False, False]), readings.kinds) == {"chest": "1 of 2", "text": "0 of 1"}


def test_drawn_pictures_are_grey_and_repeatable():
    first, again = drawn_pictures(3, of_each=2), drawn_pictures(3, of_each=2)
    assert {picture.kind for picture in first} == {
        "noise",
        "gradient",
        "drawing",
        "text",
        "checkerboard",
        "plain",
        "chest",
    }
    assert all(picture.pixels.dtype == np.uint8 and picture.pixels.ndim == 2 for picture in first)
    assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(first, again, strict=True))
    assert len({picture.name for picture in first}) == len(first)


def test_photographs_are_grey_crops():
    crops = photographs(of_each=2)
    assert len(crops) >= 4
    assert all(crop.kind == "photograph" and min(crop.pixels.shape) >= 160 for crop in crops)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_dicom_pictures_skip_what_cannot_be_read(tmp_path):
    from pydicom.data import get_testdata_file

    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(get_testdata_file(name), tmp_path / name)
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM")
    assert [(picture.kind, picture.name) for picture in dicom_pictures(tmp_path)] == [
        ("CT", "CT_small.dcm"),
        ("MR", "MR_small.dcm"),
    ]
