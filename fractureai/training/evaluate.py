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
from fractureai.training import pointing
from fractureai.training.readings import Columns, ImageReading, columns

Index = npt.NDArray[np.int64]
Figures = dict[str, Any]

_SMALL_GROUP = 5
_FALSE_PER_IMAGE = (0.25, 0.5, 1.0, 2.0)


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
    figures["of_a_hundred"] = of_a_hundred(data, points)
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


def of_a_hundred(data: Columns, points: OperatingPoints) -> dict[str, float | None]:
    """What a user asks first.

    ``normal_flagged``: of 100 normal images, how many are at least suspected; ``fractured_missed``: of 100 fractured
    ones, how many are called "no fracture"; ``no_fracture_wrong``: of 100 called "no fracture", how many are fractured.
    The last depends on how common fractures are among the images.
    """
    rates = _rates(data, points.suspected.threshold)
    wrong = {
        "normal_flagged": 1 - rates.specificity,
        "fractured_missed": 1 - rates.sensitivity,
        "no_fracture_wrong": 1 - rates.negative_predictive_value,
    }
    return {name: None if math.isnan(value) else round(100 * value, 1) for name, value in wrong.items()}


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
    """Pointing game, overlap, and sensitivity of boxes at given numbers of false boxes an image (FROC)."""
    boxed = pointing.marked(readings)
    if not boxed:
        return {}
    blocks = [reading.sample.block for reading in boxed]
    figures: Figures = {"images": len(boxed)}
    for name, column in (*pointing.hits(boxed).items(), ("box_overlap", pointing.overlaps(boxed))):
        figures[name] = resampling.interval(_mean_of(column), blocks)
        if name != "box_overlap":
            figures[name]["hits"] = int(column.sum())
    figures["froc"] = {rate: plain(value) for rate, value in pointing.froc(readings, _FALSE_PER_IMAGE).items()}
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
        if reading.sample.boxes:
            groups[f"box={_size_name(_largest_share(reading))}"].append(reading)
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


def _largest_share(reading: ImageReading) -> float:
    """Area of the largest marked fracture over that of the image."""
    largest = max((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in reading.sample.boxes)
    return largest / (reading.source_px[0] * reading.source_px[1])


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


def system_figures(
    readings: Sequence[ImageReading], points: Mapping[str, OperatingPoints], resampling: Resampling
) -> Figures:
    """All regions together: macro average of their AUCs (the figure to judge by), calibration, assessments, boxes.

    ``points`` are those of each region's model.
    """
    assessed = [reading for reading in readings if not math.isnan(reading.probability)]
    data = columns(assessed)
    regions = np.array([reading.sample.region for reading in assessed])
    blocks = data.block.tolist()
    pooled: dict[str, Callable[[Columns], float]] = {
        "pooled_auc": lambda part: st.auc(part.fractured, part.probability),
        "pooled_average_precision": lambda part: st.average_precision(part.fractured, part.probability),
        "pooled_ece": lambda part: st.expected_calibration_error(part.fractured, part.probability),
        "pooled_brier": lambda part: st.brier(part.fractured, part.probability),
    }
    figures: Figures = {"images": len(assessed), "fractured": int(data.fractured.sum())}
    figures["macro_auc"] = resampling.interval(
        lambda index: macro_auc(data.fractured[index], data.probability[index], regions[index]), blocks
    )
    for name, metric in pooled.items():
        figures[name] = resampling.interval(_drawn(metric, data), blocks)
    figures["assessments"] = _assessments(assessed, points, resampling)
    figures["localisation"] = localisation_figures(assessed, resampling)
    return figures


def macro_auc(
    fractured: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64], regions: npt.NDArray[np.str_]
) -> float:
    """The mean over the regions of the AUC of each; ``nan`` where one lacks a class."""
    values = [st.auc(fractured[regions == region], probability[regions == region]) for region in np.unique(regions)]
    return float(np.mean(values)) if values else math.nan


def _assessments(
    readings: Sequence[ImageReading], points: Mapping[str, OperatingPoints], resampling: Resampling
) -> Figures:
    """How often each word is said, and what it is worth."""
    fractured = np.array([reading.sample.fractured for reading in readings], bool)
    low = np.array([points[reading.sample.region].suspected.threshold for reading in readings])
    high = np.array([points[reading.sample.region].fracture.threshold for reading in readings])
    probability = np.array([reading.probability for reading in readings])
    fracture, none = probability >= high, probability < low
    suspected = ~fracture & ~none
    blocks = [reading.sample.block for reading in readings]

    def share(part: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Callable[[Index], float]:
        return lambda index: float(part[index][among[index]].mean()) if among[index].any() else math.nan

    everything = np.ones_like(fractured)

    def lift(index: Index) -> float:
        base, among = float(fractured[index].mean()), suspected[index]
        return float(fractured[index][among].mean()) / base if among.any() and base else math.nan

    wanted: dict[str, Callable[[Index], float]] = {
        "suspected_share": share(suspected, everything),
        "fracture_share": share(fracture, everything),
        "suspected_lift": lift,
        "fractures_flagged": share(~none, fractured),
        "normal_flagged": share(~none, ~fractured),
        "no_fracture_wrong": share(fractured, none),
    }
    return {name: resampling.interval(statistic, blocks) for name, statistic in wanted.items()}


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
