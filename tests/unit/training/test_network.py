"""The network's shape, its closed-form Grad-CAM, and what is exported."""

from pathlib import Path

import numpy as np
import openvino
import pytest

keras = pytest.importorskip("keras")
tensorflow = pytest.importorskip("tensorflow")

from fractureai.training import export  # noqa: E402
from fractureai.training import network as net  # noqa: E402
from fractureai.training.architecture import CELLS, FEATURES, HEAD, SIDES, NetworkSpec  # noqa: E402

SIDE_PX = 64
SPEC = NetworkSpec(("fracture", "other"), ("here",), SIDE_PX, SIDE_PX)


@pytest.fixture(scope="module")
def network() -> "keras.Model":
    """A network whose statistics and biases are not the trivial ones."""
    keras.utils.set_random_seed(3)
    model = net.build(SPEC)
    images = np.random.default_rng(0).uniform(0, 255, (8, SIDE_PX, SIDE_PX, 1)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(6):
        model(images, training=True)
    model.get_layer(HEAD).bias.assign([0.3, -0.2])
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (3, SIDE_PX, SIDE_PX, 1)).astype(np.float32)


def test_closed_form_map_is_gradient_grad_cam(network: "keras.Model", images: np.ndarray) -> None:
    attention = net.explained(network, SPEC)(images)["attention"]
    inner = keras.Model(network.input, [network.get_layer(net.LAST_MAP).output, network.get_layer(HEAD).output])
    for place in range(2):
        with tensorflow.GradientTape() as tape:
            last_map, logits = inner(images)
            target = logits[:, place]
        weights = tensorflow.reduce_mean(tape.gradient(target, last_map), axis=(1, 2))
        expected = np.einsum("nhwk,nk->nhw", last_map, weights)
        span = np.ptp(expected)
        assert span > 0
        assert np.abs(attention[..., place] - expected).max() <= 1e-3 * span


def test_map_and_bias_add_up_to_the_logit(network: "keras.Model", images: np.ndarray) -> None:
    found = {name: np.asarray(part) for name, part in net.explained(network, SPEC)(images).items()}
    logits, attention, features = found["logits"], found["attention"], found["features"]
    assert features.shape == (3, FEATURES)
    bias = network.get_layer(HEAD).get_weights()[1]
    np.testing.assert_allclose(attention.sum(axis=(1, 2)) + bias, logits, rtol=1e-3, atol=1e-4)


def test_the_localisation_head_has_cells_of_sixteen_px(network: "keras.Model", images: np.ndarray) -> None:
    found = net.explained(network, SPEC)(images)
    assert found[CELLS].shape == (3, 4, 4, 1)
    assert found[SIDES].shape == (3, 4, 4, 4)
    assert float(np.min(found[SIDES])) > 0


def test_openvino_gives_what_keras_gives(network: "keras.Model", images: np.ndarray, tmp_path: Path) -> None:
    export.to_openvino(network, SPEC, tmp_path)
    compiled = openvino.Core().compile_model(tmp_path / export.IR_XML, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({"image": images})
    for name, expected in net.explained(network, SPEC)(images).items():
        expected = np.asarray(expected)
        assert found[name].shape == expected.shape
        assert np.abs(found[name] - expected).max() <= 0.01 * np.ptp(expected)


def test_weights_survive_the_file(network: "keras.Model", images: np.ndarray, tmp_path: Path) -> None:
    net.save_weights(network, tmp_path / "weights.h5")
    other = net.build(SPEC)
    net.load_weights(other, tmp_path / "weights.h5")
    for found, expected in zip(other(images), network(images), strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=0.02 * np.ptp(np.asarray(expected)))


def test_heads_can_be_left_alone(network: "keras.Model") -> None:
    arrays = {name: np.asarray(value) for name, value in net.stored_variables(network).items()}
    other = net.build(NetworkSpec(("a", "b", "c")))
    net.assign(other, arrays, skip_heads=True)
    stem = network.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(other.get_layer("stem_conv").get_weights()[0], stem)


def test_a_missing_weight_is_named(network: "keras.Model", tmp_path: Path) -> None:
    import h5py

    net.save_weights(network, tmp_path / "weights.h5")
    with h5py.File(tmp_path / "weights.h5", "a") as file:
        del file["stem_conv/kernel"]
    with pytest.raises(ValueError, match="stem_conv/kernel"):
        net.load_weights(network, tmp_path / "weights.h5")
