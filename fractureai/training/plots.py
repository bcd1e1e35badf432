"""The plots of a model's page: drawn from readings, no image of a patient in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fractureai.domain import statistics as st
from fractureai.domain.card import OperatingPoints
from fractureai.training.readings import Columns

_BLUE, _ORANGE, _GREY = "#1f5f99", "#c4570e", "#8a8f98"  # Told apart by the colour-blind, and in print.


def save_fracture_plots(folder: Path, data: Columns, points: OperatingPoints) -> list[str]:
    """Draw ROC, precision–recall, reliability, score histogram and confusion; returns the file names."""
    drawers: dict[str, Callable[[Axes], None]] = {
        "roc.png": lambda axes: _roc(axes, data, points),
        "precision-recall.png": lambda axes: _precision_recall(axes, data),
        "reliability.png": lambda axes: _reliability(axes, data),
        "scores.png": lambda axes: _scores(axes, data, points),
        "confusion.png": lambda axes: _three_way(axes, data, points),
    }
    for name, draw in drawers.items():
        _save(folder / name, draw)
    return list(drawers)


def save_region_plots(folder: Path, classes: Sequence[str], confusion: npt.NDArray[np.int64]) -> list[str]:
    """Draw the confusion of regions, rows the truth; returns the file names."""

    def draw(axes: Axes) -> None:
        _table(axes, confusion, list(classes), list(classes))
        axes.set(xlabel="said", ylabel="is", title="Regions")

    _save(folder / "confusion.png", draw)
    return ["confusion.png"]


def _save(path: Path, draw: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=(4.6, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the library's version in it, the same figures give the same bytes.
    figure.savefig(path, metadata={"Software": None})


def _roc(axes: Axes, data: Columns, points: OperatingPoints) -> None:
    false_positive, true_positive = st.roc_curve(data.fractured, data.probability)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    axes.plot(false_positive, true_positive, color=_BLUE)
    marks = (("suspected", points.suspected.threshold, "o"), ("fracture", points.fracture.threshold, "s"))
    for name, threshold, marker in marks:
        rates = st.rates_at(data.fractured, data.probability, threshold)
        axes.plot(1 - rates.specificity, rates.sensitivity, marker, color=_ORANGE, label=f"{name} at {threshold:.2f}")
    axes.legend(loc="lower right", frameon=False)
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        title=f"ROC, AUC {st.auc(data.fractured, data.probability):.3f}",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
    )


def _precision_recall(axes: Axes, data: Columns) -> None:
    order = np.argsort(-data.probability, kind="stable")
    hits = np.cumsum(data.fractured[order])
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / max(1, data.fractured.sum())
    axes.axhline(float(data.fractured.mean()), color=_GREY, linewidth=1, linestyle=":", label="share of fractures")
    axes.step(recall, precision, color=_BLUE, where="post")
    axes.legend(loc="upper right", frameon=False)
    average = st.average_precision(data.fractured, data.probability)
    axes.set(xlabel="recall", ylabel="precision", title=f"Average precision {average:.3f}", ylim=(0, 1.02))


def _reliability(axes: Axes, data: Columns) -> None:
    predicted, observed, sizes = st.reliability(data.fractured, data.probability)
    deviation = np.sqrt(observed * (1 - observed) / np.maximum(sizes, 1))
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    axes.errorbar(predicted, observed, yerr=deviation, fmt="o-", color=_BLUE, capsize=2)
    error = st.expected_calibration_error(data.fractured, data.probability)
    axes.set(
        xlabel="probability said",
        ylabel="share of fractures",
        title=f"Reliability, ECE {error:.3f} ({len(sizes)} bins of equal mass)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )


def _scores(axes: Axes, data: Columns, points: OperatingPoints) -> None:
    bins = np.linspace(0, 1, 26).tolist()
    axes.hist(data.probability[~data.fractured], bins, color=_BLUE, alpha=0.6, density=True, label="normal")
    axes.hist(data.probability[data.fractured], bins, color=_ORANGE, alpha=0.6, density=True, label="fractured")
    for threshold in (points.suspected.threshold, points.fracture.threshold):
        axes.axvline(threshold, color="black", linewidth=1, linestyle="--")
    axes.legend(frameon=False)
    axes.set(xlabel="probability", ylabel="density", title="Scores and the two thresholds")


def _three_way(axes: Axes, data: Columns, points: OperatingPoints) -> None:
    called = np.digitize(data.probability, [points.suspected.threshold, points.fracture.threshold])
    counts = np.zeros((2, 3), np.int64)
    np.add.at(counts, (data.fractured.astype(int), called), 1)
    _table(axes, counts, ["normal", "fractured"], ["no fracture", "suspected", "fracture"])
    axes.set(xlabel="said", ylabel="is", title="Assessments")


def _table(axes: Axes, counts: npt.NDArray[np.int64], rows: list[str], said: list[str]) -> None:
    share: Any = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(said)), said)
    axes.set_yticks(range(len(rows)), rows)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
