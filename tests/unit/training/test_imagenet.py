"""ImageNet's weights, carried over from EfficientNet-Lite1: the features stay, and with them the cat."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

pytest.importorskip("keras")

from fractureai.training import imagenet
from fractureai.training import network as net
from fractureai.training.architecture import FEATURES, NetworkSpec
from fractureai.training.initial import read_initial

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
]
TABBY, EGYPTIAN_CAT = 281, 285


@pytest.fixture(scope="module")
def lite1() -> dict[str, np.ndarray]:
    return imagenet.read_lite1()


def _cat() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    grey = cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey[:, 60:390], (240, 240), interpolation=cv2.INTER_AREA).astype(np.float32)


def test_a_cat_is_still_a_cat(lite1: dict[str, np.ndarray]) -> None:
    network = net.build(NetworkSpec(("anything",)))
    net.assign(network, imagenet.carried_over(lite1), skip_heads=True)
    features = net.keras.Model(network.input, network.get_layer("features").output)
    pooled = np.asarray(features(_cat()[None, ..., None]))
    assert pooled.shape == (1, FEATURES)
    kernel, bias = imagenet.classifier(lite1)
    scores = (pooled @ kernel + bias)[0]
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    assert int(scores.argmax()) in {TABBY, EGYPTIAN_CAT}
    assert likely[TABBY : EGYPTIAN_CAT + 1].sum() > 0.5


def test_a_machine_without_keras_files_carries_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lite1: dict[str, np.ndarray]
) -> None:
    def away() -> dict[str, np.ndarray]:
        raise OSError("not reachable")

    monkeypatch.setattr(imagenet, "_of_keras", away)
    monkeypatch.setattr(imagenet, "read_lite1", lambda: lite1)
    initial = read_initial("imagenet", tmp_path)
    assert initial is not None
    assert "carried over" in initial.origin
    with h5py.File(tmp_path / "imagenet.h5") as file:
        assert file["block2a_expand_conv/kernel"].shape == (1, 1, 16, 96)
    monkeypatch.setattr(imagenet, "read_lite1", lambda: pytest.fail("kept in the run folder"))
    assert read_initial("imagenet", tmp_path).origin == initial.origin
