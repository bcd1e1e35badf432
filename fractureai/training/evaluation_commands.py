"""``fractureai evaluate``, ``models calibrate`` and ``models fit-scope``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from fractureai.domain.card import ModelCard
from fractureai.imaging.decoder import ChildDecoder
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry
from fractureai.inference.scope import load_scope, save_scope
from fractureai.training import card_files
from fractureai.training.datasets.mura import PRODUCT_REGIONS
from fractureai.training.datasets.opening import open_dataset
from fractureai.training.datasets.values import SPLITS, Dataset, Sample, Split
from fractureai.training.operating_points import Levels
from fractureai.training.readings import ImageReading, read_samples
from fractureai.training.recalibration import Recalibration, recalibrate, recalibrate_from_logits, unseen_splits

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
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
@click.option("--write-cards", is_flag=True, help="Write figures, pages and plots into the folder of models.")
def evaluate_command(
    data: Path, models_dir: Path, split: str, resamples: int, json_file: Path | None, write_cards: bool
) -> None:
    """Measure every model of the folder on DATA and print the figures with 95 % intervals.

    DATA is FracAtlas (prepared or as published), MURA, a folder with samples.csv, or a CSV file with the columns
    file, region, fractured. Images go the way they go in service.
    """
    from fractureai.training.evaluation import evaluate_models  # matplotlib comes with it

    if split == "test":
        click.echo("The test split is for the card of a finished model, once: choose nothing on it.", err=True)
    dataset = _open(data, SPLITS if split == "all" else (split,))  # type: ignore[arg-type]
    readings = _read(dataset, models_dir)
    result = evaluate_models(card_files.read_cards(models_dir), readings, resamples)
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
@click.option("--held-out-logits", type=click.Path(exists=True, path_type=Path), help="Of training's folds (.npz).")
@click.option("--missed", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.15, show_default=True,
              help="Most fractures below `suspected`.")  # fmt: skip
@click.option("--false-alarms", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.10,
              show_default=True, help="Most normal images at or above `fracture`.")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.90,
              show_default=True, help="With which both hold.")  # fmt: skip
@click.option("--keep-version", is_flag=True, help="Leave the versions of the cards as they are.")
def calibrate_command(
    data: Path, models_dir: Path, out: Path | None, splits: tuple[Split, ...], held_out_logits: Path | None,
    missed: float, false_alarms: float, confidence: float, keep_version: bool,
) -> None:  # fmt: skip
    """Fit probabilities and thresholds anew, on images the models have not learnt from, and write new cards.

    The weights stay as they are; version and hash of the cards change. The promises of the thresholds hold for images
    like those in DATA, so use your own, as they come: at least 40 fractures and 40 normal images a region.
    """
    cards = card_files.read_cards(models_dir)
    dataset = _open(data, SPLITS)
    levels = Levels(missed, false_alarms, confidence)
    if held_out_logits is not None:
        source = f"{dataset.name}: logits of folds that had not seen the image"
        new = recalibrate_from_logits(cards, dataset, held_out_logits, Recalibration(levels, source, keep_version))
    else:
        chosen = splits or unseen_splits(dataset, cards)
        how = Recalibration(levels, f"{dataset.name}: {', '.join(chosen)}", keep_version)
        new = recalibrate(cards, _read(dataset.split(*chosen), models_dir), how)
    target = out or models_dir
    for name, card in cards.items():
        card_files.copy_weights(models_dir / name, target / name, card)
        card_files.write_card(target / name, new.get(name, card))
        click.echo(_calibration_line(new.get(name)) if name in new else f"{name}: unchanged, too few images")


@click.command("fit-scope", short_help="Fit what counts as a limb radiograph.")
@click.option("--data", type=_DATA, required=True, help="Labelled images, as for `evaluate`.")
@_models_option
@click.option("--foreign", type=_FOLDER, multiple=True, help="Folders of DICOM files that show no limb.")
@click.option("--accept", type=click.FloatRange(0.5, 1, max_open=True), default=0.97, show_default=True)
@click.option("--variants", type=click.IntRange(0), default=100, show_default=True, help="Limbs to turn and invert.")
@click.option("--phantoms", type=click.IntRange(0), default=300, show_default=True, help="Drawn limbs in the bank.")
@click.option(
    "--exposure", type=click.IntRange(0), default=60, show_default=True, help="Drawn foreign pictures of each kind."
)
def fit_scope_command(
    data: Path, models_dir: Path, foreign: tuple[Path, ...], accept: float, variants: int, phantoms: int, exposure: int
) -> None:
    """Fit the scope rule of the region model: bank from train and phantoms, limits from val, figures from test.

    Drawn pictures that are no limbs, and limbs with dark bones, show what to look at more closely. Half of the foreign
    pictures chooses the shape of the score, the other half measures it.
    """
    from fractureai.training import scope_fit, scope_measure

    card = next(card for card in card_files.read_cards(models_dir).values() if card.task == "region")
    engine = openvino_engine()(models_dir / card.name, card)
    dataset = _open(data, SPLITS)
    with _decoder() as decoder:

        def limbs(samples: Sequence[Sample]) -> Iterator[tuple[str, Any]]:
            return (("limb", decoder.decode(sample.image_path).pixels) for sample in _progress(samples, "limbs"))

        train, val, test = (
            scope_measure.picture_readings(engine, card, limbs(dataset.split(split).samples)) for split in SPLITS
        )
        changed_limbs = [pixels for _, pixels in limbs(_spread(dataset.split("test").samples, variants))]
        dark = (pixels for _, pixels in limbs(_spread(dataset.split("train").samples, 5 * exposure)))
        shown = scope_measure.exposure_readings(engine, card, exposure, dark)
    drawn = scope_measure.picture_readings(engine, card, scope_measure.limb_phantoms(phantoms))
    bank = np.concatenate([train.features, drawn.features])
    pictures = scope_measure.foreign_pictures(foreign)
    other = scope_measure.picture_readings(
        engine, card, ((picture.kind, picture.pixels) for picture in _progress(pictures, "foreign pictures"))
    )
    odd = np.arange(len(other.kinds)) % 2 == 1
    shape = scope_fit.choose_shape(bank, val.features, other.where(odd).features, shown)
    path = models_dir / card.name / "scope.npz"
    save_scope(path, scope_fit.fit_scope(bank, shape, shown))
    model = load_scope(path)  # As it will be in service, in half precision.
    limits = scope_fit.choose_limits(model, val, accept)
    figures = scope_fit.describe(model, limits, test, other.where(~odd))
    figures["variants"] = scope_measure.variant_shares(engine, card, changed_limbs, (model, limits))
    rule = {
        "file": path.name,
        "method": f"{scope_fit.METHOD} ({shape})",
        "threshold": limits.threshold,
        "min_region_probability": limits.min_region_probability,
        "accepted_share": limits.accepted_share,
    }
    files = {name: entry.model_dump() for name, entry in card.files.items()} | {path.name: card_files.file_entry(path)}
    new = card_files.changed(card, scope=rule, files=files, metrics={**card.metrics, "scope": figures})
    card_files.write_card(models_dir / card.name, new)
    click.echo(json.dumps({"scope": rule, "measured": figures}, indent=2))


evaluate = evaluate_command
calibrate = calibrate_command


def _open(path: Path, splits: Sequence[Split]) -> Dataset:
    dataset = open_dataset(path).renamed(PRODUCT_REGIONS).split(*splits)
    click.echo(f"{dataset.name}: {len(dataset.samples)} images of {', '.join(dataset.regions)}", err=True)
    for reason, count in dataset.left_out_counts().items():
        click.echo(f"  left out {count}: {reason}", err=True)
    return dataset


def _spread(samples: Sequence[Sample], count: int) -> Sequence[Sample]:
    """At most so many of the samples, evenly over their order."""
    return samples[:: max(1, len(samples) // max(1, count))][:count]


def _read(dataset: Dataset, models_dir: Path) -> list[ImageReading]:
    models = ModelRegistry(models_dir, openvino_engine())
    with _decoder() as decoder:
        readings, left_out = read_samples(_progress(dataset.samples, "images"), models, decoder.decode)
    for item in left_out:
        click.echo(f"  left out {item.image_id}: {item.reason}", err=True)
    return readings


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
