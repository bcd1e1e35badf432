import math

import numpy as np
import pytest

from fractureai.domain.canvas import lay, place
from fractureai.errors import BrokenDeployment
from fractureai.inference.engine import EngineOutput
from fractureai.inference.network import Network
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry
from tests.cards import network_card


class UpperBrightness:
    """A network whose logit is the mean of the canvas's upper half, and whose maps are the canvas itself."""

    def __init__(self, *, localised: bool = False) -> None:
        self.batches = []
        self._localised = localised

    def infer(self, batch):
        self.batches.append(batch.copy())
        upper = batch[:, : batch.shape[1] // 2].mean(axis=(1, 2))
        sides = np.tile(np.float32([1, 2, 3, 4]), (*batch.shape[:3], 1))
        local = (batch.copy(), sides) if self._localised else ()
        return EngineOutput(upper, batch.copy(), batch.mean(axis=(1, 2)), *local)


@pytest.fixture
def limb():
    """Texture, brighter at the top."""
    grain = np.random.default_rng(0).uniform(0.4, 1.0, (24, 16))
    return np.asarray(np.kron(grain * np.linspace(250, 60, 24)[:, None], np.ones((8, 8))), np.uint8)


def test_one_view_is_the_canvas_of_the_image(limb):
    engine = UpperBrightness()
    reading = Network(network_card(1), "d" * 64, engine).read(limb)
    canvas = lay(limb, place(limb, network_card(1).input.canvas))
    assert len(engine.batches) == 1
    np.testing.assert_array_equal(engine.batches[0][0, ..., 0], canvas)
    np.testing.assert_array_equal(reading.attention[..., 0], canvas)
    assert reading.logits.shape == (1, 1)
    assert reading.cells is None
    assert reading.network == "d" * 64


@pytest.mark.parametrize(("view", "sides"), [("turned", [3, 4, 1, 2]), ("mirrored", [3, 2, 1, 4])])
def test_a_second_view_is_laid_back_on_the_first(limb, view, sides):
    engine = UpperBrightness(localised=True)
    reading = Network(network_card(1, localised=1, second_view=view), "", engine).read(limb)
    first, second = engine.batches
    np.testing.assert_array_equal(second[0], first[0, ::-1, ::-1] if view == "turned" else first[0, :, ::-1])
    np.testing.assert_allclose(reading.attention, first[0])
    np.testing.assert_allclose(reading.cells, first[0])
    np.testing.assert_allclose(reading.sides[0, 0], (np.float32([1, 2, 3, 4]) + np.float32(sides)) / 2)
    assert reading.logits.shape == (2, 1)
    assert (reading.logits[0] == reading.logits[1]) == (view == "mirrored")


def test_a_network_that_gives_other_numbers_than_its_card_says_is_refused(limb):
    with pytest.raises(BrokenDeployment, match="install it again"):
        Network(network_card(2), "", UpperBrightness()).read(limb)


def _reading(models_folder, region, image):
    model = ModelRegistry(models_folder, openvino_engine(threads=1)).fracture(region)
    return model, model.read(image)


def test_a_fracture_reading_is_calibrated_as_the_card_says(models_folder, limb):
    model, raw = _reading(models_folder, "elbow", limb)
    found = model.interpret(raw)
    peak = float(raw.cells[..., 0].max())
    values = [0.7 * float(logit) + 0.2 * peak - 0.3 for logit in raw.logits[:, 2]]
    assert len(values) == 2
    assert found.probability == pytest.approx(1 / (1 + math.exp(-np.mean(values))), abs=1e-6)
    assert found.spread == pytest.approx(np.std([1 / (1 + math.exp(-value)) for value in values]), abs=1e-6)
    np.testing.assert_array_equal(found.attention, raw.attention[..., 2])
    assert found.attention.sum() == pytest.approx(raw.logits[:, 2].mean(), abs=1e-3)


def test_boxes_are_on_the_image_most_probable_first_and_as_many_as_the_card_says(models_folder, limb):
    model, raw = _reading(models_folder, "elbow", limb)
    boxes = model.interpret(raw).boxes
    assert 1 <= len(boxes) <= 3
    assert [box.probability for box in boxes] == sorted((box.probability for box in boxes), reverse=True)
    for box in boxes:
        x0, y0, x1, y1 = box.box_px
        assert 0 <= x0 < x1 <= limb.shape[1]
        assert 0 <= y0 < y1 <= limb.shape[0]


def test_a_model_without_localisation_has_no_boxes(models_folder, limb):
    model, raw = _reading(models_folder, "hand", limb)
    assert model.interpret(raw).boxes == ()
    assert raw.cells is None


def test_a_region_reading_sums_to_one(models_folder, limb):
    model = ModelRegistry(models_folder, openvino_engine(threads=1)).region()
    reading = model.interpret(model.read(limb))
    assert list(reading.probabilities) == ["elbow", "hand"]
    assert sum(reading.probabilities.values()) == pytest.approx(1)
    assert reading.scope_score <= 0


def test_a_turned_image_reads_the_same_with_its_attention_turned(models_folder, limb):
    model, plain = _reading(models_folder, "elbow", limb)
    turned = model.read(np.ascontiguousarray(limb[::-1, ::-1]))
    assert model.interpret(plain).probability == pytest.approx(model.interpret(turned).probability, abs=0.02)
