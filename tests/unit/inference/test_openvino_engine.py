import numpy as np
import pytest

from fractureai.errors import BrokenDeployment
from fractureai.inference.openvino_engine import OpenVinoEngine
from tests.cards import network_card


def _engine(models_folder, **settings):
    return OpenVinoEngine(models_folder / "limbs" / "model.xml", network_card(4, localised=2), **settings)


def _batch(images=3):
    return np.random.default_rng(0).uniform(0, 255, (images, 96, 64, 1)).astype(np.float32)


def test_outputs_have_the_promised_shapes(models_folder):
    output = _engine(models_folder, threads=1).infer(_batch())
    assert output.logits.shape == (3, 4)
    assert output.attention.shape == (3, 12, 8, 4)
    assert output.features.shape == (3, 6)
    assert output.cells.shape == (3, 12, 8, 2)
    assert output.sides.shape == (3, 12, 8, 4)
    assert {output.logits.dtype, output.attention.dtype, output.features.dtype} == {np.dtype(np.float32)}


def test_attention_sums_to_the_logit(models_folder):
    output = _engine(models_folder).infer(_batch())
    np.testing.assert_allclose(output.attention.sum(axis=(1, 2)), output.logits, rtol=1e-4, atol=1e-3)


def test_results_do_not_change_with_the_next_call(models_folder):
    engine = _engine(models_folder)
    first = engine.infer(_batch())
    kept = first.logits.copy()
    engine.infer(_batch() / 2)
    assert np.array_equal(first.logits, kept)


def test_bf16_stays_close(models_folder):
    exact, rough = (_engine(models_folder, precision=name).infer(_batch()).logits for name in ("f32", "bf16"))
    np.testing.assert_allclose(exact, rough, rtol=0.05, atol=0.2)


@pytest.mark.parametrize("shape", [(1, 64, 96, 1), (1, 96, 64), (1, 96, 64, 3), (0, 96, 64, 1)])
def test_other_shapes_are_refused(models_folder, shape):
    with pytest.raises(ValueError, match="expected"):
        _engine(models_folder).infer(np.zeros(shape, np.float32))


def test_a_network_of_another_size_is_the_deployments_fault(models_folder):
    with pytest.raises(BrokenDeployment, match="disagree"):
        OpenVinoEngine(models_folder / "limbs" / "model.xml", _larger())


def _larger():
    card = network_card(4)
    return card.model_copy(update={"input": card.input.model_copy(update={"height_px": 128})})


def test_a_network_without_a_promised_output_is_the_deployments_fault(models_folder):
    with pytest.raises(BrokenDeployment, match="cells, sides"):
        OpenVinoEngine(models_folder / "site-hand" / "model.xml", network_card(1, localised=1))


def test_a_missing_network_is_the_deployments_fault(tmp_path):
    with pytest.raises(BrokenDeployment, match="OpenVINO cannot use"):
        OpenVinoEngine(tmp_path / "model.xml", network_card())
