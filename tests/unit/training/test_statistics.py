import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from fractureai.domain import statistics as st


def _data(seed, n=200, ties=False):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.25).astype(int)
    labels[:2] = 0, 1
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + labels)))
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
class TestAgainstScikitLearn:
    def test_auc(self, seed, ties):
        labels, scores = _data(seed, ties=ties)
        assert st.auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))

    def test_average_precision(self, seed, ties):
        labels, scores = _data(seed, ties=ties)
        assert st.average_precision(labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores))

    def test_kappa_sensitivity_and_specificity(self, seed, ties):
        labels, scores = _data(seed, ties=ties)
        rates, called = st.rates_at(labels, scores, 0.6), scores >= 0.6
        assert rates.kappa == pytest.approx(metrics.cohen_kappa_score(labels, called))
        assert rates.sensitivity == pytest.approx(metrics.recall_score(labels, called))
        assert rates.specificity == pytest.approx(metrics.recall_score(1 - labels, ~called))
        assert rates.positive_predictive_value == pytest.approx(metrics.precision_score(labels, called))
        assert rates.negative_predictive_value == pytest.approx(metrics.precision_score(1 - labels, ~called))

    def test_roc_curve(self, seed, ties):
        labels, scores = _data(seed, ties=ties)
        ours, (x, y, _) = st.roc_curve(labels, scores), metrics.roc_curve(labels, scores, drop_intermediate=False)
        np.testing.assert_allclose(ours, (x, y))
        assert np.trapezoid(ours[1], ours[0]) == pytest.approx(st.auc(labels, scores))

    def test_brier(self, seed, ties):
        labels, scores = _data(seed, ties=ties)
        assert st.brier(labels, scores) == pytest.approx(metrics.brier_score_loss(labels, scores))


def test_undefined_rates_are_nan():
    ones, half = np.ones(3), np.full(3, 0.5)
    assert math.isnan(st.auc(ones, half))
    assert math.isnan(st.average_precision(1 - ones, half))
    assert math.isnan(st.rates_at(ones, half, 0.1).specificity)
    assert math.isnan(st.rates_at(ones, half, 0.1).kappa)
    assert math.isnan(st.Rates(0, 0, 0, 0).kappa)
    assert math.isnan(st.bootstrap_by_block(lambda index: st.auc(ones[index], half[index]), ["a", "b", "c"]).low)


def test_calibration_error_is_the_gap_in_bins_of_equal_mass():
    probabilities = np.repeat([0.1, 0.8], 50)
    labels = np.concatenate([np.repeat([0, 1], [40, 10]), np.repeat([0, 1], [10, 40])])
    assert st.expected_calibration_error(labels, probabilities, bins=2) == pytest.approx(0.05)
    _, observed, sizes = st.reliability(labels, probabilities, bins=2)
    assert observed.tolist() == [0.2, 0.8]
    assert sizes.tolist() == [50, 50]


def test_calibration_error_of_calibrated_scores_is_small():
    rng = np.random.default_rng(0)
    probabilities = rng.random(20_000)
    assert st.expected_calibration_error(rng.random(20_000) < probabilities, probabilities) < 0.02


def test_the_bootstrap_draws_blocks_not_images():
    rng = np.random.default_rng(0)
    means = rng.normal(size=30)
    by_block, singly = np.repeat(means, 20), [f"{number}" for number in range(600)]
    blocks = [f"b{number // 20}" for number in range(600)]
    wide = st.bootstrap_by_block(lambda index: float(by_block[index].mean()), blocks, resamples=300)
    narrow = st.bootstrap_by_block(lambda index: float(by_block[index].mean()), singly, resamples=300)
    assert wide.low < wide.value < wide.high
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert wide == st.bootstrap_by_block(lambda index: float(by_block[index].mean()), blocks, resamples=300)


@pytest.mark.parametrize(("events", "trials"), [(0, 5), (0, 30), (3, 20), (11, 110), (19, 20), (200, 1200)])
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95])
def test_the_exact_bound_is_clopper_and_pearsons(events, trials, confidence):
    expected = stats.beta.ppf(confidence, events + 1, trials - events)
    assert st.exact_upper_bound(events, trials, confidence) == pytest.approx(expected, abs=1e-9)


def test_the_exact_bound_at_the_edges():
    assert st.exact_upper_bound(0, 0, 0.9) == 1
    assert st.exact_upper_bound(4, 4, 0.9) == 1
    with pytest.raises(ValueError, match="events"):
        st.exact_upper_bound(5, 4, 0.9)


@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.3, 0.999, 1.0])
def test_the_binomial_cdf(rate):
    for events in (0, 3, 9, 10):
        assert st.binomial_cdf(events, 10, rate) == pytest.approx(stats.binom.cdf(events, 10, rate), abs=1e-12)
