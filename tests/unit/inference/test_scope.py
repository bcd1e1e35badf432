import time

import numpy as np
import pytest

from fractureai.errors import BrokenDeployment
from fractureai.inference.scope import ScopeModel, describe, load_scope, save_scope


def _model(features=1280, kept=64, known=1500):
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(features, kept)))
    return ScopeModel(
        mean=np.zeros(features, np.float32),
        basis=(axes * 2).astype(np.float32),
        axes=axes.astype(np.float32),
        bank=rng.normal(size=(known, kept)).astype(np.float32),
        neighbours=5,
        residual_scale=2.0,
    )


def test_the_score_is_the_mean_distance_to_the_nearest_neighbours_and_the_residual():
    model = _model(features=40, kept=8, known=30)
    features = np.random.default_rng(3).normal(size=(4, 40)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for row, score in zip(unit, model.score(features), strict=True):
        distances = np.sort(np.linalg.norm(model.bank - row @ model.basis, axis=1))[:5]
        residual = np.linalg.norm(row - model.axes @ (model.axes.T @ row)) / 2
        assert score == pytest.approx(-(distances.mean() + residual), abs=1e-4)


def test_without_a_weight_length_does_not_change_the_score():
    model, features = _model(), np.abs(np.random.default_rng(1).normal(size=(2, 1280))).astype(np.float32)
    np.testing.assert_allclose(model.score(features), model.score(features * 3), rtol=1e-5)
    assert np.isfinite(model.score(np.zeros((1, 1280), np.float32))).all()


def test_a_score_takes_little_time():
    model, features = _model(), np.ones((1, 1280), np.float32)
    model.score(features)
    fastest = min(_seconds(model, features) for _ in range(20))
    assert fastest < 0.005  # 0.3 ms measured on an idle core


def _seconds(model, features):
    start = time.perf_counter()
    model.score(features)
    return time.perf_counter() - start


def test_saving_and_loading_keeps_the_score_and_the_bytes(tmp_path):
    model = _model()
    save_scope(tmp_path / "a.npz", model)
    save_scope(tmp_path / "b.npz", model)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    features = np.random.default_rng(2).normal(size=(3, 1280)).astype(np.float32)
    np.testing.assert_allclose(load_scope(tmp_path / "a.npz").score(features), model.score(features), rtol=1e-3)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_the_deployments_fault(tmp_path, content):
    (tmp_path / "scope.npz").write_bytes(content)
    with pytest.raises(BrokenDeployment):
        load_scope(tmp_path / "scope.npz")


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "scope.npz", mean=np.array([object()], object))
    with pytest.raises(BrokenDeployment):
        load_scope(tmp_path / "scope.npz")


def test_arrays_and_features_must_fit():
    model = _model(features=40, kept=8, known=30)
    with pytest.raises(BrokenDeployment, match="expects"):
        model.score(np.zeros((1, 41), np.float32))
    with pytest.raises(BrokenDeployment, match="fit together"):
        ScopeModel(model.mean, model.basis, model.axes, model.bank, 31, 1.0)


def test_features_are_described_by_direction_and_length():
    rows = np.array([[3, 4], [0, 0]], np.float32)
    assert describe(rows, 0.0).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    weighted = describe(rows, 2.0)
    assert weighted[0, 2] == pytest.approx(2 * np.log(5))
    assert np.isfinite(weighted).all()
