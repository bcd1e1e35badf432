"""An evaluation of all models of a folder, and where its figures go: the screen, the cards, the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fractureai.domain.card import ModelCard
from fractureai.training import evaluate as ev
from fractureai.training import plots
from fractureai.training.card_files import changed, write_card
from fractureai.training.model_page import model_page
from fractureai.training.readings import ImageReading, columns

PLOTS = "plots"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures by model name, with the cards and readings they come from."""

    cards: Mapping[str, ModelCard]
    readings: Mapping[str, Sequence[ImageReading]]
    figures: Mapping[str, dict[str, Any]]

    def lines(self) -> Iterator[str]:
        """What a person wants to see first, a line a figure."""
        for name, figures in self.figures.items():
            yield f"{name}: {figures['images']} images"
            for key, value in told(figures):
                yield f"  {key:<28} {value}"

    def write(self, models_dir: Path, split: str) -> None:
        """Write the figures under ``split`` into the cards, and a page and plots beside each."""
        for name, figures in self.figures.items():
            card, folder = self.cards[name], models_dir / name
            new = changed(card, metrics={**card.metrics, split: figures})
            write_card(folder, new)
            drawn = self._plots(folder / PLOTS, new, figures)
            (folder / "README.md").write_text(model_page(new, drawn), encoding="utf-8")

    def _plots(self, folder: Path, card: ModelCard, figures: Mapping[str, Any]) -> list[str]:
        if card.operating_points is not None:
            return plots.save_fracture_plots(folder, columns(self.readings[card.name]), card.operating_points)
        return plots.save_region_plots(folder, card.classes, np.array(figures["confusion"]))


def evaluate_models(
    cards: Mapping[str, ModelCard],
    readings: Sequence[ImageReading],
    resamples: int,
    robustness: Mapping[str, Mapping[str, Any]],
) -> Evaluation:
    """Measure every model that has read at least one image; figures of all regions are with the region model.

    ``robustness`` is a table a variation (:func:`fractureai.training.robustness.robustness_figures`); may be empty.
    """
    resampling = ev.Resampling(resamples=resamples)
    parts = ev.by_region(readings)
    figures: dict[str, dict[str, Any]] = {}
    read: dict[str, Sequence[ImageReading]] = {}
    for name, card in cards.items():
        own = readings if card.task == "region" else parts.get(card.region or "", [])
        if not own:
            continue
        read[name] = own
        if card.operating_points is not None:
            figures[name] = ev.fracture_figures(own, card.operating_points, resampling)
            continue
        found = ev.region_figures(own, card, resampling)
        if found["images"]:
            points = {
                other.region: other.operating_points
                for other in cards.values()
                if other.region is not None and other.operating_points is not None
            }
            figures[name] = found | {"system": ev.system_figures(readings, points, resampling)}
            if robustness:
                figures[name]["robustness"] = robustness
    return Evaluation(cards, read, figures)


def told(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every figure with an interval, by its name, those of nested groups of figures behind."""
    for key, value in figures.items():
        if not isinstance(value, Mapping):
            continue
        if "low" in value:
            yield key, _interval(value)
        elif key in _NESTED:
            yield from told(value)
        elif key == "froc":
            yield key, ", ".join(f"{found} at {rate}" for rate, found in value.items())


_NESTED = ("localisation", "system", "assessments")


def _interval(figure: Mapping[str, Any]) -> str:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    hits = f", {figure['hits']} images" if "hits" in figure else ""
    return f"{value:.3f}{hits}" if low is None or high is None else f"{value:.3f}  ({low:.3f} to {high:.3f}){hits}"
