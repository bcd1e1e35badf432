import json
import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fractureai.domain.calibration import softmax
from fractureai.domain.statistics import auc, exact_upper_bound, expected_calibration_error
from fractureai.errors import BrokenDeployment
from fractureai.training.calibrate import (
    HeldOut,
    calibrate_boxes,
    calibrate_fracture,
    calibrate_region,
    fit_platt,
    fit_temperature,
    sigmoid,
)
from fractureai.training.operating_points import Calibrated, Levels, affordable_level, allowed_events, choose_points


def _logits(seed, images=2000, slope=0.4, intercept=-1.0):
    """Logits whose true probability is ``sigmoid(slope * logit + intercept)``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, images)
    return logits, rng.random(images) < 1 / (1 + np.exp(-(slope * logits + intercept)))


def _column(logits):
    return np.asarray(logits, np.float64)[:, None]


class TestPlatt:
    def test_it_finds_the_true_slope_and_intercept(self):
        logits, fractured = _logits(0, 20_000)
        slopes, intercept = fit_platt(_column(logits), fractured)
        assert slopes == pytest.approx([0.4], abs=0.03)
        assert intercept == pytest.approx(-1.0, abs=0.06)

    def test_it_agrees_with_scikit_learn_on_two_numbers(self):
        rng = np.random.default_rng(1)
        numbers = rng.normal(0, [3, 1.5], (6000, 2))
        fractured = rng.random(6000) < 1 / (1 + np.exp(-(numbers @ [0.5, 0.8] - 1)))
        other = LogisticRegression(C=1e6).fit(numbers, fractured)
        slopes, intercept = fit_platt(numbers, fractured)
        assert slopes == pytest.approx(other.coef_[0], abs=0.02)
        assert intercept == pytest.approx(other.intercept_[0], abs=0.02)

    def test_a_number_that_says_nothing_is_left_out(self):
        rng = np.random.default_rng(2)
        logits, fractured = _logits(2, 4000)
        slopes, _ = fit_platt(np.stack([logits, -fractured.astype(float) + rng.normal(size=4000)], axis=1), fractured)
        assert slopes[0] == pytest.approx(fit_platt(_column(logits), fractured)[0][0], abs=0.02)
        assert slopes[1] == 0

    def test_separable_classes_stay_finite(self):
        slopes, intercept = fit_platt(_column([-3.0, -2.0, 2.0, 3.0]), np.array([False, False, True, True]))
        assert 0 < slopes[0] < 10
        assert abs(intercept) < 5

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_any_scale_of_logits_converges(self, scale):
        logits, fractured = _logits(2)
        slopes, intercept = fit_platt(_column(logits * scale), fractured, prior=np.array([0.4 / scale]))
        probabilities = sigmoid(logits * scale * slopes[0] + intercept)
        assert expected_calibration_error(fractured, probabilities) < 0.05

    def test_a_model_worse_than_chance_keeps_a_positive_slope(self):
        logits, fractured = _logits(3)
        assert fit_platt(_column(-logits), fractured)[0] == pytest.approx([0.01 / logits.std()])

    def test_one_class_alone_cannot_calibrate(self):
        with pytest.raises(BrokenDeployment, match="both classes"):
            fit_platt(np.zeros((3, 1)), np.zeros(3, bool))


def test_boxes_get_a_probability_and_a_threshold():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    found = rng.random(4000) < sigmoid(0.9 * logits - 2)
    fitted = calibrate_boxes(logits, found, 1000, 0.5, "here")
    assert (fitted.slope, fitted.intercept) == (pytest.approx(0.9, abs=0.1), pytest.approx(-2, abs=0.2))
    shown = sigmoid(fitted.slope * logits + fitted.intercept) > fitted.threshold
    assert (shown & ~found).sum() == pytest.approx(500, abs=1)


def test_the_temperature_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 5))
    classes = np.array([rng.choice(5, p=row) for row in softmax(logits, 2.5)])
    assert fit_temperature(logits, classes) == pytest.approx(2.5, rel=0.1)
    fitted = calibrate_region(logits, classes, "here")
    assert (fitted.method, fitted.images, fitted.fitted_on) == ("temperature", 4000, "here")


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
    held_out = {}
    for seed, name in enumerate(("hand", "leg")):
        logits, fractured = _logits(seed, 800)
        held_out[name] = HeldOut(logits, None, fractured)
    done = calibrate_fracture(held_out, Levels(), "held-out folds")
    for region, part in held_out.items():
        fitted = done[region].calibration
        probabilities = sigmoid(part.logits * fitted.slope + fitted.intercept)
        assert auc(part.fractured, probabilities) == pytest.approx(auc(part.fractured, part.logits))
        assert expected_calibration_error(part.fractured, probabilities) < 0.06
        assert (fitted.images, fitted.fitted_on) == (800, "held-out folds")
        json.dumps(done[region].operating_points.model_dump())


def test_held_out_logits_must_be_finite_and_fit_together():
    with pytest.raises(ValueError, match="two"):
        HeldOut(np.zeros(3), None, np.zeros(2, bool))
    with pytest.raises(ValueError, match="finite"):
        HeldOut(np.array([0.0]), np.array([math.nan]), np.array([True]))
