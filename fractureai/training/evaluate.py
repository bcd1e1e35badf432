"""Figures of readings: discrimination, calibration, operating points, localisation, with intervals by block."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain import statistics as st
from fractureai.domain.card import ModelCard, OperatingPoints
from fractureai.training.readings import Columns, ImageReading, columns

Index = npt.NDArray[np.int64]
Figures = dict[str, Any]

_SMALL_GROUP = 5


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: 95 %, percentile bootstrap over blocks."""

    resamples: int = 1000
    seed: int = 0

    def interval(self, statistic: Callable[[Index], float], blocks: Sequence[str]) -> Figures:
        """``{"value", "low", "high"}`` of a statistic of drawn indices."""
        found = st.bootstrap_by_block(statistic, blocks, resamples=self.resamples, seed=self.seed)
        return {"value": plain(found.value), "low": plain(found.low), "high": plain(found.high)}


def plain(value: float) -> float | None:
    """Four decimals, and ``None`` for what is undefined: JSON has no ``nan``."""
    return None if math.isnan(value) else round(float(value), 4)


def fracture_figures(readings: Sequence[ImageReading], points: OperatingPoints, resampling: Resampling) -> Figures:
    """Every figure of one fracture model on the images of its region."""
    data = columns(readings)
    blocks = data.block.tolist()
    figures: Figures = {"images": len(blocks), "fractured": int(data.fractured.sum()), "blocks": len(set(blocks))}
    for name, metric in _metrics(points).items():
        figures[name] = resampling.interval(_drawn(metric, data), blocks)
    figures["counts_suspected"] = _counts(data, points.suspected.threshold)
    figures["counts_fracture"] = _counts(data, points.fracture.threshold)
    figures["bounds_hold"] = _bounds_hold(data, points)
    figures["mean_spread"] = plain(float(np.nanmean([reading.spread for reading in readings]))) if readings else None
    if studies := study_level(readings, points):
        figures["study_level"] = studies
    if localisation := localisation_figures(readings, resampling):
        figures["localisation"] = localisation
    figures["groups"] = group_figures(readings, points)
    figures["worst_errors"] = worst_errors(readings)
    return figures


def _metrics(points: OperatingPoints) -> dict[str, Callable[[Columns], float]]:
    low, high = points.suspected.threshold, points.fracture.threshold
    return {
        "auc": lambda data: st.auc(data.fractured, data.probability),
        "average_precision": lambda data: st.average_precision(data.fractured, data.probability),
        "sensitivity_suspected": lambda data: _rates(data, low).sensitivity,
        "specificity_suspected": lambda data: _rates(data, low).specificity,
        "sensitivity_fracture": lambda data: _rates(data, high).sensitivity,
        "specificity_fracture": lambda data: _rates(data, high).specificity,
        "kappa": lambda data: _rates(data, high).kappa,
        "ece": lambda data: st.expected_calibration_error(data.fractured, data.probability),
        "brier": lambda data: st.brier(data.fractured, data.probability),
    }


def _drawn(metric: Callable[[Columns], float], data: Columns) -> Callable[[Index], float]:
    def statistic(index: Index) -> float:
        return metric(Columns(data.fractured[index], data.probability[index], data.block[index]))

    return statistic


def _rates(data: Columns, threshold: float) -> st.Rates:
    return st.rates_at(data.fractured, data.probability, threshold)


def _counts(data: Columns, threshold: float) -> dict[str, int]:
    rates = _rates(data, threshold)
    return {
        "true_positive": rates.true_positive,
        "false_positive": rates.false_positive,
        "true_negative": rates.true_negative,
        "false_negative": rates.false_negative,
    }


def _bounds_hold(data: Columns, points: OperatingPoints) -> dict[str, bool]:
    """Whether the data are compatible with both bounds: a one-sided exact test at 5 % does not refute them."""
    missed = _rates(data, points.suspected.threshold)
    alarms = _rates(data, points.fracture.threshold)
    cases = {
        "missed_fractures": (missed.false_negative, int(data.fractured.sum()), points.suspected.bound),
        "false_alarms": (alarms.false_positive, int((~data.fractured).sum()), points.fracture.bound),
    }
    return {
        name: events == 0 or 1 - st.binomial_cdf(events - 1, trials, bound) > 0.05
        for name, (events, trials, bound) in cases.items()
    }


def study_level(readings: Sequence[ImageReading], points: OperatingPoints) -> Figures:
    """MURA's metric (Rajpurkar et al. 2017): the mean probability over a study's views; empty without studies."""
    studies: dict[str, list[ImageReading]] = defaultdict(list)
    for reading in readings:
        if reading.sample.study is not None and not math.isnan(reading.probability):
            studies[reading.sample.study].append(reading)
    if not studies:
        return {}
    labels = np.array([any(view.sample.fractured for view in views) for views in studies.values()])
    means = np.array([np.mean([view.probability for view in views]) for views in studies.values()])
    return {
        "studies": len(studies),
        "auc": plain(st.auc(labels, means)),
        "kappa_fracture": plain(st.rates_at(labels, means, points.fracture.threshold).kappa),
        "kappa_half": plain(st.rates_at(labels, means, 0.5).kappa),
    }


def localisation_figures(readings: Sequence[ImageReading], resampling: Resampling) -> Figures:
    """Pointing game and overlap of the region of interest with the labelled boxes, beside the centre of the image."""
    boxed = [reading for reading in readings if reading.localisation is not None]
    if not boxed:
        return {}
    rows = np.array(
        [
            (found.peak_hit, found.centre_hit, found.overlap, found.centre_overlap)
            for found in (reading.localisation for reading in boxed)
            if found is not None
        ],
        np.float64,
    )
    blocks = [reading.sample.block for reading in boxed]
    names = ("peak_in_box", "centre_in_box", "roi_overlap", "centre_overlap")
    figures: Figures = {"images": len(boxed)}
    for column, name in enumerate(names):
        figures[name] = resampling.interval(_mean_of(rows[:, column]), blocks)
    return figures


def _mean_of(values: npt.NDArray[np.float64]) -> Callable[[Index], float]:
    return lambda index: float(values[index].mean())


def group_figures(readings: Sequence[ImageReading], points: OperatingPoints) -> dict[str, Figures]:
    """AUC and sensitivity by view, hardware and any other tag, and sensitivity by the size of the box.

    Groups with fewer than five fractures or five normal images have no AUC: it would mean nothing.
    """
    groups: dict[str, list[ImageReading]] = defaultdict(list)
    for reading in readings:
        for name, value in reading.sample.tags.items():
            groups[f"{name}={value}"].append(reading)
        if reading.localisation is not None:
            groups[f"box={_size_name(reading.localisation.box_share)}"].append(reading)
    return {name: _group(columns(members), points) for name, members in sorted(groups.items())}


def worst_errors(readings: Sequence[ImageReading], of_each: int = 5) -> Figures:
    """The fractured images with the lowest probabilities and the normal ones with the highest: where to look first."""
    assessed = [reading for reading in readings if not math.isnan(reading.probability)]
    ordered = sorted(assessed, key=lambda reading: (reading.probability, reading.sample.image_id))
    missed = [reading for reading in ordered if reading.sample.fractured][:of_each]
    alarms = [reading for reading in reversed(ordered) if not reading.sample.fractured][:of_each]
    return {
        name: {reading.sample.image_id: plain(reading.probability) for reading in found}
        for name, found in (("missed", missed), ("false_alarms", alarms))
    }


def _size_name(share: float) -> str:
    return "under 1 % of the image" if share < 0.01 else "1 to 3 %" if share < 0.03 else "over 3 %"


def _group(data: Columns, points: OperatingPoints) -> Figures:
    fractured = int(data.fractured.sum())
    enough = min(fractured, len(data.fractured) - fractured) >= _SMALL_GROUP
    return {
        "images": len(data.fractured),
        "fractured": fractured,
        "auc": plain(st.auc(data.fractured, data.probability)) if enough else None,
        "sensitivity_suspected": plain(_rates(data, points.suspected.threshold).sensitivity),
        "specificity_fracture": plain(_rates(data, points.fracture.threshold).specificity),
    }


def system_figures(readings: Sequence[ImageReading], resampling: Resampling) -> Figures:
    """All regions together: macro average of their AUCs (the figure to judge by), pooled AUC, ECE and Brier."""
    assessed = [reading for reading in readings if not math.isnan(reading.probability)]
    data = columns(assessed)
    regions = np.array([reading.sample.region for reading in assessed])
    blocks = data.block.tolist()

    def macro(index: Index) -> float:
        values = [
            st.auc(data.fractured[index][regions[index] == region], data.probability[index][regions[index] == region])
            for region in np.unique(regions)
        ]
        return float(np.mean(values)) if values else math.nan

    pooled: dict[str, Callable[[Columns], float]] = {
        "pooled_auc": lambda part: st.auc(part.fractured, part.probability),
        "pooled_average_precision": lambda part: st.average_precision(part.fractured, part.probability),
        "pooled_ece": lambda part: st.expected_calibration_error(part.fractured, part.probability),
        "pooled_brier": lambda part: st.brier(part.fractured, part.probability),
    }
    figures: Figures = {"images": len(assessed), "fractured": int(data.fractured.sum())}
    figures["macro_auc"] = resampling.interval(macro, blocks)
    for name, metric in pooled.items():
        figures[name] = resampling.interval(_drawn(metric, data), blocks)
    return figures


def region_figures(readings: Sequence[ImageReading], card: ModelCard, resampling: Resampling) -> Figures:
    """Accuracy, recall and confusion of the region classifier, and the share of images it lets through."""
    known = [reading for reading in readings if reading.sample.region in card.classes]
    if not known or card.scope is None:
        return {"images": 0}
    truth = np.array([card.classes.index(reading.sample.region) for reading in known])
    probabilities = np.array([reading.region_probabilities for reading in known])
    named, best = probabilities.argmax(axis=1), probabilities.max(axis=1)
    scores = np.array([reading.scope_score for reading in known])
    passed = (scores >= card.scope.threshold) & (best >= card.scope.min_region_probability)
    correct = (named == truth).astype(np.float64)
    blocks = [reading.sample.block for reading in known]
    confusion = np.zeros((len(card.classes),) * 2, int)
    np.add.at(confusion, (truth, named), 1)
    return {
        "images": len(known),
        "accuracy": resampling.interval(_mean_of(correct), blocks),
        "accuracy_of_accepted": plain(float(correct[passed].mean())) if passed.any() else None,
        "accepted": resampling.interval(_mean_of(passed.astype(np.float64)), blocks),
        "ece": plain(st.expected_calibration_error(correct, best)),
        "recall": {
            name: plain(float(correct[truth == number].mean())) if (truth == number).any() else None
            for number, name in enumerate(card.classes)
        },
        "confusion": confusion.tolist(),
    }


def by_region(readings: Sequence[ImageReading]) -> Mapping[str, list[ImageReading]]:
    """The readings of each labelled region, by name."""
    parts: dict[str, list[ImageReading]] = defaultdict(list)
    for reading in readings:
        parts[reading.sample.region].append(reading)
    return dict(sorted(parts.items()))
