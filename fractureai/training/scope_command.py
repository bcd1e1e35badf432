"""``models fit-scope``, step by step: read, choose the shape, fit, set the limits, measure, write the card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fractureai.domain.ports import RegionModel
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry
from fractureai.inference.scope import ScopeModel, load_scope, save_scope
from fractureai.training import card_files, scope_fit
from fractureai.training import scope_measure as sm
from fractureai.training.datasets.folds import unseen_parts
from fractureai.training.datasets.values import Dataset, Sample

Grey = npt.NDArray[np.uint8]
Decoded = Callable[[Dataset, str], Iterable[tuple[Sample, Grey]]]

_BANK, _VARIED = 1500, 600
"""How many pictures stand in the bank as they are; how many there, and among those that set the limits, varied."""


@dataclass(frozen=True, slots=True)
class ScopeFit:
    """How to fit the rule.

    Attributes
    ----------
    decoded:
        Gives the pictures of a part of the dataset; the label is for the progress bar.
    accept:
        Share of limb radiographs that are to be accepted, as they are and varied.
    phantoms, exposure:
        Drawn limbs in the bank, and drawn foreign pictures of each kind.
    """

    dataset: Dataset
    decoded: Decoded
    accept: float
    phantoms: int
    exposure: int

    def run(
        self, models_dir: Path, folds: Sequence[Path], of_folds: int | None, foreign: Sequence[Path]
    ) -> dict[str, Any]:
        """Fit, write ``scope.npz`` and the card, and return the rule and what was measured."""
        model = ModelRegistry(models_dir, openvino_engine()).region()
        learnt = self.dataset.split("train") if not folds else self.dataset.split("train", "val")
        shown = sm.exposure_readings(model, self.exposure)
        bank = self._bank(model, learnt)
        other = sm.picture_readings(model, ((picture.kind, picture.pixels) for picture in sm.foreign_pictures(foreign)))
        odd = np.arange(len(other.kinds)) % 2 == 1
        held_out = self._limbs(model, self.dataset.split("val"), "limbs held out")
        shape = scope_fit.choose_shape(bank, held_out.features, other.where(odd).features, shown)
        path = models_dir / model.card.name / "scope.npz"
        save_scope(path, scope_fit.fit_scope(bank, shape, shown))
        rule = load_scope(path)  # As it will be in service, in half precision.
        limits = (
            self._limits_of_folds(folds, of_folds, shape)
            if folds
            else self._limits(model, rule, self.dataset.split("val"))
        )
        test = self._limbs(model, self.dataset.split("test"), "limbs of test")
        figures = scope_fit.describe(rule, limits, test, other.where(~odd))
        return self._written(models_dir, model, shape, limits, figures)

    def _bank(self, model: RegionModel, learnt: Dataset) -> npt.NDArray[np.float32]:
        plain = self._limbs(model, learnt.spread(_BANK), "limbs")
        changed = sm.picture_readings(model, sm.varied(self._pictures(learnt.spread(_VARIED), "variations")))
        drawn = sm.picture_readings(model, sm.limb_phantoms(self.phantoms))
        return np.concatenate([plain.features, changed.features, drawn.features])

    def _limits_of_folds(self, folds: Sequence[Path], of_folds: int | None, shape: scope_fit.Shape) -> scope_fit.Limits:
        """The mean of the limits that each fold's own rule needs on the images it has not seen."""
        dataset = self.dataset.split("train", "val")
        found = []
        for folder, unseen in unseen_parts(dataset, folds, of_folds):
            model = ModelRegistry(folder, openvino_engine()).region()
            blocks = {sample.block for sample in unseen.samples}
            seen = dataset.only(lambda sample, blocks=blocks: sample.block not in blocks)
            shown = sm.exposure_readings(model, self.exposure)
            rule = scope_fit.fit_scope(self._bank(model, seen), shape, shown)
            found.append(self._limits(model, rule, unseen))
        return scope_fit.Limits(*(float(np.mean(values)) for values in zip(*map(_numbers, found), strict=True)))

    def _limits(self, model: RegionModel, rule: ScopeModel, part: Dataset) -> scope_fit.Limits:
        changed = sm.picture_readings(model, sm.varied(self._pictures(part.spread(_VARIED), "variations")))
        plain = self._limbs(model, part, "limbs held out")
        return scope_fit.choose_limits(rule, plain.joined(changed), self.accept)

    def _limbs(self, model: RegionModel, part: Dataset, label: str) -> scope_fit.Readings:
        return sm.picture_readings(model, self._pictures(part, label))

    def _pictures(self, part: Dataset, label: str) -> Iterator[tuple[str, Grey]]:
        return (("limb", pixels) for _, pixels in self.decoded(part, label))

    def _written(
        self, models_dir: Path, model: RegionModel, shape: scope_fit.Shape, limits: scope_fit.Limits,
        figures: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        card, folder = model.card, models_dir / model.card.name
        rule = {
            "file": "scope.npz",
            "method": f"{scope_fit.METHOD} ({shape})",
            "threshold": limits.threshold,
            "min_region_probability": limits.min_region_probability,
            "accepted_share": limits.accepted_share,
        }
        files = {name: entry.model_dump() for name, entry in card.files.items()}
        files["scope.npz"] = card_files.file_entry(folder / "scope.npz")
        new = card_files.changed(card, scope=rule, files=files, metrics={**card.metrics, "scope": figures})
        card_files.write_card(folder, new)
        return {"scope": rule, "measured": figures}


def _numbers(limits: scope_fit.Limits) -> tuple[float, float, float]:
    return limits.threshold, limits.min_region_probability, limits.accepted_share
