import math

import numpy as np
import pytest

from fractureai.domain.canvas import fit
from fractureai.domain.card import InputSpec
from fractureai.inference.engine import EngineOutput
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.readers import read_features, run_views
from fractureai.inference.registry import ModelRegistry


class LeftBrightness:
    """A network whose logit is the mean of the canvas's left half, and whose attention is the canvas itself."""

    def infer(self, batch):
        left = batch[:, :, : batch.shape[2] // 2].mean(axis=(1, 2))
        return EngineOutput(left, batch.copy(), batch.mean(axis=(1, 2)))


@pytest.fixture
def half_bright():
    image = np.zeros((32, 32), np.uint8)
    image[:, :16] = 200
    return image


def test_the_mirror_images_attention_is_turned_back(half_bright):
    (output,) = run_views(LeftBrightness(), InputSpec(size_px=32, test_time_flip=True), [half_bright])
    assert output.logits.tolist() == [[200.0], [0.0]]
    assert np.array_equal(output.attention[0], output.attention[1])
    assert np.array_equal(output.attention[0, ..., 0], fit(half_bright, 32))


def test_without_flips_there_is_one_view(half_bright):
    (output,) = run_views(LeftBrightness(), InputSpec(size_px=32), [half_bright])
    assert output.logits.tolist() == [[200.0]]


def test_features_and_logits_are_means_over_views(half_bright):
    spec = InputSpec(size_px=32, test_time_flip=True)
    logits, features = read_features(LeftBrightness(), spec, [half_bright, half_bright // 2])
    assert logits.tolist() == [[100.0], [50.0]]
    assert features.tolist() == [[100.0], [50.0]]


def test_no_images_give_no_readings(models_folder):
    registry = ModelRegistry(models_folder, openvino_engine(threads=1))
    assert registry.region().read([]) == []
    assert registry.fracture("elbow").read([]) == []


def test_a_fracture_reading_is_calibrated_as_the_card_says(models_folder, radiograph):
    model = ModelRegistry(models_folder, openvino_engine(threads=1)).fracture("elbow")
    image = radiograph()
    (reading,) = model.read([image])
    (views,) = run_views(model._engine, model.card.input, [image])
    logits = views.logits[:, 0].astype(float)
    each = [1 / (1 + math.exp(-(0.7 * logit - 0.3))) for logit in logits]
    assert reading.probability == pytest.approx(1 / (1 + math.exp(-(0.7 * logits.mean() - 0.3))), abs=1e-6)
    assert reading.spread == pytest.approx(np.std(each), abs=1e-6)
    assert reading.attention.shape == (8, 8)
    assert reading.attention.dtype == np.float32
    assert reading.attention.sum() == pytest.approx(logits.mean(), abs=1e-3)


def test_a_mirrored_image_reads_the_same_with_its_attention_mirrored(models_folder, radiograph):
    model = ModelRegistry(models_folder, openvino_engine(threads=1)).fracture("elbow")
    image = radiograph(64, 64)
    plain, mirrored = model.read([image, image[:, ::-1].copy()])
    assert plain.probability == pytest.approx(mirrored.probability, abs=1e-6)
    np.testing.assert_allclose(plain.attention, mirrored.attention[:, ::-1], atol=1e-4)


def test_a_region_reading_sums_to_one(models_folder, radiograph):
    model = ModelRegistry(models_folder, openvino_engine(threads=1)).region()
    (reading,) = model.read([radiograph()])
    assert list(reading.probabilities) == ["elbow", "hand"]
    assert sum(reading.probabilities.values()) == pytest.approx(1)
    assert reading.scope_score <= 0
