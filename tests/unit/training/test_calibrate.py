import json
import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fractureai.domain.calibration import platt, softmax
from fractureai.domain.card import Calibration, ModelCard
from fractureai.domain.statistics import auc, exact_upper_bound, expected_calibration_error
from fractureai.errors import BrokenDeployment
from fractureai.training.calibrate import (
    HeldOut,
    calibrate_fracture,
    calibrate_region,
    fit_platt,
    fit_temperature,
    logits_of,
    region_logits_of,
)
from fractureai.training.operating_points import Calibrated, Levels, affordable_level, allowed_events, choose_points


@pytest.fixture
def fracture_card():
    point = {"threshold": 0.5, "bound": 0.1, "confidence": 0.9, "observed": 0.0, "images": 1}
    points = {
        "fracture": point | {"rate": "false_alarms"},
        "suspected": point | {"rate": "missed_fractures"},
    }
    return ModelCard.model_validate(
        {
            "name": "fracture-hand",
            "version": "1",
            "task": "fracture",
            "region": "hand",
            "classes": ["fracture"],
            "input": {"size_px": 64},
            "calibration": {"method": "platt"},
            "operating_points": points,
            "files": {},
            "intended_use": "",
            "limits": [],
            "licence": "",
            "data": {"name": "", "citation": "", "licence": ""},
            "training": {},
            "metrics": {},
        }
    )


def _logits(seed, images=2000, slope=0.4, intercept=-1.0):
    """Logits whose true probability is ``sigmoid(slope * logit + intercept)``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, images)
    return logits, rng.random(images) < 1 / (1 + np.exp(-(slope * logits + intercept)))


class TestPlatt:
    def test_it_finds_the_true_slope_and_intercept(self):
        slope, intercept = fit_platt(*_logits(0, 20_000))
        assert slope == pytest.approx(0.4, abs=0.03)
        assert intercept == pytest.approx(-1.0, abs=0.06)

    def test_it_agrees_with_scikit_learn(self):
        logits, fractured = _logits(1, 5000)
        other = LogisticRegression(C=1e6).fit(logits[:, None], fractured)
        slope, intercept = fit_platt(logits, fractured)
        assert slope == pytest.approx(other.coef_[0, 0], abs=0.01)
        assert intercept == pytest.approx(other.intercept_[0], abs=0.02)

    def test_separable_classes_stay_finite(self):
        slope, intercept = fit_platt(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([False, False, True, True]))
        assert 0 < slope < 10
        assert abs(intercept) < 5

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_any_scale_of_logits_converges(self, scale):
        logits, fractured = _logits(2)
        slope, intercept = fit_platt(logits * scale, fractured, prior_slope=0.4 / scale)
        probabilities = np.array([platt(value, slope, intercept) for value in logits * scale])
        assert expected_calibration_error(fractured, probabilities) < 0.05

    def test_a_model_worse_than_chance_keeps_a_positive_slope(self):
        logits, fractured = _logits(3)
        assert fit_platt(-logits, fractured)[0] == pytest.approx(0.01 / logits.std())

    def test_one_class_alone_cannot_calibrate(self):
        with pytest.raises(BrokenDeployment, match="both classes"):
            fit_platt(np.zeros(3), np.zeros(3, bool))


def test_the_temperature_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 5))
    classes = np.array([rng.choice(5, p=row) for row in softmax(logits, 2.5)])
    assert fit_temperature(logits, classes) == pytest.approx(2.5, rel=0.1)
    fitted = calibrate_region(logits, classes, "here")
    assert (fitted.method, fitted.images, fitted.fitted_on) == ("temperature", 4000, "here")


class TestUndoing:
    def test_platt(self, fracture_card):
        card = fracture_card.model_copy(update={"calibration": Calibration(method="platt", slope=0.3, intercept=-2.0)})
        logits = np.linspace(-20, 20, 9)
        probabilities = np.array([platt(value, 0.3, -2.0) for value in logits])
        np.testing.assert_allclose(logits_of(probabilities, card), logits, atol=1e-6)

    def test_temperature(self, fracture_card):
        card = fracture_card.model_copy(update={"calibration": Calibration(method="temperature", temperature=3.0)})
        logits = np.random.default_rng(0).normal(size=(4, 5))
        back = region_logits_of(softmax(logits, 3.0), card)
        np.testing.assert_allclose(softmax(back, 1.0), softmax(logits, 1.0), atol=1e-9)


class TestLevels:
    def test_few_images_allow_few_errors(self):
        assert allowed_events(5, 0.2, 0.9) == -1
        assert allowed_events(16, 0.2, 0.9) == 0
        assert allowed_events(18, 0.2, 0.9) == 1
        assert allowed_events(0, 0.2, 0.9) == -1

    @pytest.mark.parametrize("trials", [18, 55, 300])
    def test_they_are_what_the_exact_bound_allows(self, trials):
        events = allowed_events(trials, 0.2, 0.9)
        assert exact_upper_bound(events, trials, 0.9) <= 0.2 < exact_upper_bound(events + 1, trials, 0.9)

    def test_the_level_is_loosened_by_number_alone(self):
        levels = Levels(missed_fractures=0.1, loosest=0.25)
        assert affordable_level(125, 0.1, levels) == 0.1
        assert affordable_level(30, 0.1, levels) == 0.15
        assert affordable_level(18, 0.1, levels) == 0.2
        assert affordable_level(6, 0.1, levels) is None

    @pytest.mark.parametrize("changes", [{"missed_fractures": 0.0}, {"false_alarms": 1.0}, {"confidence": 1.0}])
    def test_impossible_levels_cannot_be_built(self, changes):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Levels(**changes)


def _calibrated(seed, images=400, separation=1.5, share=0.2):
    rng = np.random.default_rng(seed)
    fractured = rng.random(images) < share
    return Calibrated(1 / (1 + np.exp(-(rng.normal(size=images) + separation * fractured))), fractured)


class TestPoints:
    def test_the_bounds_hold_as_often_as_they_promise(self):
        """On 200 draws of 300 images, the true rates (of 40,000 other images) exceed the bounds in at most 10 %."""
        truth, levels = _calibrated(10_000, 40_000), Levels()
        broken_missed = broken_alarms = 0
        for seed in range(200):
            points = choose_points({"hand": _calibrated(seed, 300)}, levels)["hand"]
            missed = (truth.probabilities[truth.fractured] < points.suspected.threshold).mean()
            alarms = (truth.probabilities[~truth.fractured] >= points.fracture.threshold).mean()
            broken_missed += missed > points.suspected.bound
            broken_alarms += alarms > points.fracture.bound
        assert broken_missed <= 200 * 0.1 + 2.5 * math.sqrt(200 * 0.09)
        assert broken_alarms <= 200 * 0.1 + 2.5 * math.sqrt(200 * 0.09)
        assert broken_missed + broken_alarms > 0  # Not safe by being useless.

    def test_what_is_observed_is_told(self):
        part = _calibrated(0)
        points = choose_points({"hand": part}, Levels())["hand"]
        assert points.suspected.observed == (part.probabilities[part.fractured] < points.suspected.threshold).mean()
        assert points.fracture.observed == (part.probabilities[~part.fractured] >= points.fracture.threshold).mean()
        assert points.suspected.images + points.fracture.images == 400
        assert 0 < points.suspected.observed <= points.suspected.bound

    def test_a_region_with_too_few_borrows_and_says_so(self):
        few = Calibrated(np.array([0.2, 0.9, 0.1]), np.array([True, True, False]))
        chosen = choose_points({"hip": few, "hand": _calibrated(0)}, Levels())
        assert "all regions" in chosen["hip"].suspected.method
        assert chosen["hip"].suspected.images == int(_calibrated(0).fractured.sum()) + 2
        assert "this region" in chosen["hand"].suspected.method

    def test_without_enough_anywhere_nothing_is_called_normal_or_fractured(self):
        few = Calibrated(np.array([0.2, 0.9, 0.1]), np.array([True, True, False]))
        points = choose_points({"hip": few}, Levels())["hip"]
        assert (points.suspected.threshold, points.fracture.threshold) == (0.0, 1.0)
        assert "too few" in points.suspected.method

    def test_a_perfect_model_keeps_the_order(self):
        fractured = np.repeat([False, True], 60)
        part = Calibrated(np.where(fractured, 0.9, 0.1), fractured)
        points = choose_points({"hand": part}, Levels())["hand"]
        assert points.suspected.threshold <= points.fracture.threshold
        assert (points.suspected.observed, points.fracture.observed) == (0, 0)

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_one_probability_for_all_gives_no_false_promise(self, value):
        part = Calibrated(np.full(100, value), np.arange(100) % 2 == 0)
        points = choose_points({"hand": part}, Levels())["hand"]
        assert points.suspected.observed <= points.suspected.bound
        assert points.fracture.observed <= points.fracture.bound or value == 1.0


def test_calibrating_all_regions_keeps_the_order_and_mends_the_probabilities():
    held_out = {name: HeldOut(*_logits(seed, 800)) for seed, name in enumerate(("hand", "leg"))}
    done = calibrate_fracture(held_out, Levels(), "held-out folds")
    for region, part in held_out.items():
        fitted = done[region].calibration
        probabilities = np.array([platt(value, fitted.slope, fitted.intercept) for value in part.logits])
        assert auc(part.fractured, probabilities) == pytest.approx(auc(part.fractured, part.logits))
        assert expected_calibration_error(part.fractured, probabilities) < 0.06
        assert (fitted.images, fitted.fitted_on) == (800, "held-out folds")
        json.dumps(done[region].operating_points.model_dump())


def test_held_out_logits_must_be_finite_and_fit_together():
    with pytest.raises(ValueError, match="two"):
        HeldOut(np.zeros(3), np.zeros(2, bool))
    with pytest.raises(ValueError, match="finite"):
        HeldOut(np.array([math.nan]), np.array([True]))
