"""What the shipped weights have learnt from drawings: chests are no limbs, and broken legs are not whole."""

from pathlib import Path

import numpy as np
import pytest

from fractureai.domain.assessment import scope_reasons
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.training.out_of_scope import chest_phantom

SHIPPED = Path(__file__).parents[3] / "models"
# Neither learnt from nor fitted on: far from every seed of the training.
FIRST_SEED = 500_000

pytestmark = pytest.mark.skipif(not (SHIPPED / "region" / "card.json").is_file(), reason="no models are in models/")


@pytest.fixture(scope="module")
def registry() -> ModelRegistry:
    return ModelRegistry(SHIPPED, openvino_engine(threads=1))


def _leg(seed: int, *, fractured: bool) -> np.ndarray:
    drawn = render(PhantomSpec("leg", "frontal", fractured, FIRST_SEED + seed, 640, 512))
    return np.asarray(drawn.pixels >> 4, np.uint8)


def test_a_chest_is_refused_by_its_picture_alone(registry: ModelRegistry) -> None:
    model = registry.region()
    for number in range(2):
        assert scope_reasons(model.interpret(model.read(chest_phantom(FIRST_SEED + number))), model.card)


def test_a_drawn_leg_is_a_leg(registry: ModelRegistry) -> None:
    model = registry.region()
    reading = model.interpret(model.read(_leg(0, fractured=False)))
    assert reading.name == "leg"
    assert not scope_reasons(reading, model.card)


def test_broken_drawn_legs_are_told_from_whole_ones(registry: ModelRegistry) -> None:
    model = registry.fracture("leg")
    assert model is not None
    whole, broken = (
        [model.interpret(model.read(_leg(seed, fractured=fractured))).probability for seed in range(4)]
        for fractured in (False, True)
    )
    assert np.mean(broken) > np.mean(whole) + 0.3
