"""``fractureai evaluate``, ``models calibrate`` and ``models fit-scope``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import numpy.typing as npt

from fractureai.domain.card import ModelCard
from fractureai.errors import RejectedInput
from fractureai.imaging.decoder import ChildDecoder
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry
from fractureai.training import card_files
from fractureai.training.datasets.folds import unseen_parts
from fractureai.training.datasets.mura import PRODUCT_REGIONS
from fractureai.training.datasets.opening import open_dataset
from fractureai.training.datasets.values import SPLITS, Dataset, Sample, Split
from fractureai.training.operating_points import Levels
from fractureai.training.readings import RawReading, interpret, read_samples
from fractureai.training.recalibration import Recalibration, recalibrate, unseen_splits

_T = TypeVar("_T")
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DATA = click.Path(exists=True, path_type=Path)
_models_option = click.option(
    "--models", "models_dir", type=_FOLDER, default=Path("models"), show_default=True, help="Folder of models."
)


@click.command("evaluate", short_help="Measure models on labelled data.")
@click.argument("data", type=_DATA)
@_models_option
@click.option("--split", type=click.Choice([*SPLITS, "all"]), default="val", show_default=True)
@click.option("--resamples", type=click.IntRange(0), default=1000, show_default=True, help="Bootstrap over blocks.")
@click.option("--robustness", type=click.IntRange(0), default=0, show_default=True,
              help="Also read so many images turned, scaled, framed, dimmed and compressed.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
@click.option("--write-cards", is_flag=True, help="Write figures, pages and plots into the folder of models.")
def evaluate_command(
    data: Path, models_dir: Path, split: str, resamples: int, robustness: int, json_file: Path | None,
    write_cards: bool,
) -> None:  # fmt: skip
    """Measure every model of the folder on DATA and print the figures with 95 % intervals.

    DATA is FracAtlas (prepared or as published), MURA, a folder with samples.csv, or a CSV file with the columns
    file, region, fractured. Images go the way they go in service.
    """
    from fractureai.training.evaluation import evaluate_models  # matplotlib comes with it
    from fractureai.training.robustness import read_variations, robustness_figures

    if split == "test":
        click.echo("The test split is for the card of a finished model, once: choose nothing on it.", err=True)
    dataset = _open(data, SPLITS if split == "all" else (split,))  # type: ignore[arg-type]
    models = ModelRegistry(models_dir, openvino_engine())
    readings = interpret(_read(dataset, models), models)
    rows = {}
    if robustness:
        with _decoder() as decoder:
            pictures = _decoded(dataset.spread(robustness), decoder, "variations")
            rows = robustness_figures(read_variations(pictures, models), models)
    result = evaluate_models(card_files.read_cards(models_dir), readings, resamples, rows)
    for line in result.lines():
        click.echo(line)
    if json_file is not None:
        json_file.write_text(json.dumps(result.figures, indent=2) + "\n", encoding="utf-8")
    if write_cards:
        result.write(models_dir, split)


@click.command("calibrate", short_help="Calibrate models on your own data.")
@click.option("--data", type=_DATA, required=True, help="Labelled images, as for `evaluate`.")
@_models_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to; default: the models' folder.")
@click.option("--split", "splits", type=click.Choice(SPLITS), multiple=True, help="Default: what models did not see.")
@click.option("--fold", "folds", type=_FOLDER, multiple=True,
              help="Models of the training without this fold, in the folds' order: cross-fitting.")  # fmt: skip
@click.option("--of-folds", type=click.IntRange(2), help="How many folds there are, if not all are given.")
@click.option("--missed", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.08, show_default=True,
              help="Most fractures below `suspected`.")  # fmt: skip
@click.option("--false-alarms", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.08,
              show_default=True, help="Most normal images at or above `fracture`.")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.90,
              show_default=True, help="With which both hold.")  # fmt: skip
@click.option("--keep-version", is_flag=True, help="Leave the versions of the cards as they are.")
def calibrate_command(
    data: Path, models_dir: Path, out: Path | None, splits: tuple[Split, ...], folds: tuple[Path, ...],
    of_folds: int | None, missed: float, false_alarms: float, confidence: float, keep_version: bool,
) -> None:  # fmt: skip
    """Fit probabilities and thresholds on images the models have not learnt from, and write new cards.

    The weights stay as they are; version and hash of the cards change. The promises of the thresholds hold for images
    like those in DATA, so use your own, as they come: at least 40 fractures and 40 normal images a region.
    """
    cards = card_files.read_cards(models_dir)
    dataset = _open(data, SPLITS)
    levels = Levels(missed, false_alarms, confidence)
    if folds:
        parts = unseen_parts(dataset.split("train", "val"), folds, of_folds)
        source = (
            f"{dataset.name}: images read by the training that left out their fold, {len(folds)} of "
            f"{of_folds or len(folds)} folds"
        )
        readings = [
            reading for folder, part in parts for reading in _read(part, ModelRegistry(folder, openvino_engine()))
        ]
    else:
        chosen = splits or unseen_splits(dataset, cards)
        source = f"{dataset.name}: {', '.join(chosen)}"
        readings = _read(dataset.split(*chosen), ModelRegistry(models_dir, openvino_engine()))
    new = recalibrate(cards, readings, Recalibration(levels, source, keep_version))
    target = out or models_dir
    for name, card in cards.items():
        card_files.copy_files(models_dir, target, card)
        card_files.write_card(target / name, new.get(name, card))
        click.echo(_calibration_line(new.get(name)) if name in new else f"{name}: unchanged, too few images")


@click.command("fit-scope", short_help="Fit what counts as a limb radiograph.")
@click.option("--data", type=_DATA, required=True, help="Labelled images, as for `evaluate`.")
@_models_option
@click.option("--fold", "folds", type=_FOLDER, multiple=True, help="As for `calibrate`; their limits are averaged.")
@click.option("--of-folds", type=click.IntRange(2), help="As for `calibrate`.")
@click.option("--foreign", type=_FOLDER, multiple=True, help="Folders of DICOM files that show no limb.")
@click.option("--accept", type=click.FloatRange(0.5, 1, max_open=True), default=0.97, show_default=True)
@click.option("--phantoms", type=click.IntRange(0), default=300, show_default=True, help="Drawn limbs in the bank.")
@click.option(
    "--exposure", type=click.IntRange(0), default=60, show_default=True, help="Drawn foreign pictures of each kind."
)
def fit_scope_command(
    data: Path, models_dir: Path, folds: tuple[Path, ...], of_folds: int | None, foreign: tuple[Path, ...],
    accept: float, phantoms: int, exposure: int,
) -> None:  # fmt: skip
    """Fit the scope rule of the region model: bank from train, its variations and phantoms, limits from images not
    learnt from, figures from test.

    Drawn pictures that are no limbs show what to look at more closely. Half of the foreign pictures chooses the shape
    of the score, the other half measures it.
    """
    from fractureai.training.scope_command import ScopeFit

    dataset = _open(data, SPLITS)
    with _decoder() as decoder:
        fit = ScopeFit(dataset, lambda part, label: _decoded(part, decoder, label), accept, phantoms, exposure)
        click.echo(json.dumps(fit.run(models_dir, folds, of_folds, foreign), indent=2))


evaluate = evaluate_command
calibrate = calibrate_command


def _open(path: Path, splits: Sequence[Split]) -> Dataset:
    dataset = open_dataset(path).renamed(PRODUCT_REGIONS).split(*splits)
    click.echo(f"{dataset.name}: {len(dataset.samples)} images of {', '.join(dataset.regions)}", err=True)
    for reason, count in dataset.left_out_counts().items():
        click.echo(f"  left out {count}: {reason}", err=True)
    return dataset


def _read(dataset: Dataset, models: ModelRegistry) -> list[RawReading]:
    with _decoder() as decoder:
        readings, left_out = read_samples(_progress(dataset.samples, "images"), models, decoder.decode)
    for item in left_out:
        click.echo(f"  left out {item.image_id}: {item.reason}", err=True)
    return readings


def _decoded(dataset: Dataset, decoder: ChildDecoder, label: str) -> Iterator[tuple[Sample, npt.NDArray[np.uint8]]]:
    """The samples with their pixels; what cannot be decoded is left out."""
    for sample in _progress(dataset.samples, label):
        try:
            yield sample, decoder.decode(sample.image_path).pixels
        except RejectedInput as error:
            click.echo(f"  left out {sample.image_id}: {error.code}", err=True)


@contextmanager
def _decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder() as decoder:
        yield decoder


def _progress(items: Sequence[_T], label: str) -> Iterable[_T]:
    with click.progressbar(items, label=label, file=sys.stderr) as bar:
        yield from bar


def _calibration_line(card: ModelCard | None) -> str:
    if card is None:
        return ""
    if card.operating_points is None:
        return f"{card.name} {card.version}: temperature {card.calibration.temperature:.3f}"
    points = card.operating_points
    return (
        f"{card.name} {card.version}: slope {card.calibration.slope:.3f}, intercept {card.calibration.intercept:.3f}; "
        f"suspected from {points.suspected.threshold:.3f} (misses at most {points.suspected.bound:.0%}, "
        f"{points.suspected.observed:.1%} of {points.suspected.images} seen), fracture from "
        f"{points.fracture.threshold:.3f} (false alarms at most {points.fracture.bound:.0%}, "
        f"{points.fracture.observed:.1%} of {points.fracture.images} seen)"
    )
