"""`fractureai train …`: from labelled radiographs to a run folder with weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click

from fractureai.errors import BrokenDeployment
from fractureai.training.architecture import shared_outputs
from fractureai.training.initial import IMAGENET

DEFAULT_HEIGHT_PX, DEFAULT_WIDTH_PX = 288, 224
_DATA_HELP = "FracAtlas, MURA, or a CSV file with its images."
_OUT_HELP = "Run folder; naming an unfinished run resumes it."


def _shared_options(command: Any) -> Any:
    for option in reversed(
        [
            click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help=_DATA_HELP),
            click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help=_OUT_HELP),
            click.option("--height", "height_px", default=DEFAULT_HEIGHT_PX, show_default=True,
                         help="Height of the canvas, px."),
            click.option("--width", "width_px", default=DEFAULT_WIDTH_PX, show_default=True,
                         help="Width of the canvas, px."),
            click.option("--init", default=IMAGENET, show_default=True,
                         help="Initial weights: imagenet, none, or the weights.h5 of another run."),
            click.option("--epochs", default=60, show_default=True, help="Most epochs of fine-tuning."),
            click.option("--frozen-epochs", default=5, show_default=True,
                         help="Most epochs with the base frozen; skipped without initial weights."),
            click.option("--steps", default=100, show_default=True, help="Batches an epoch."),
            click.option("--batch-size", default=32, show_default=True),
            click.option("--rate", default=3e-4, show_default=True, help="Highest learning rate of fine-tuning."),
            click.option("--patience", default=8, show_default=True,
                         help="Epochs without a better validation AUC before a phase ends."),
            click.option("--phantoms", default=300, show_default=True, help="Phantoms among the training pictures."),
            click.option("--seed", default=0, show_default=True),
            click.option("--quiet", is_flag=True, help="No progress bar."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def train() -> None:
    """Train a model: the base frozen first, then all of it, until the validation AUC stops rising.

    The run folder holds the configuration with seed and revision, the curves, a log, and weights.h5. A killed run goes
    on where it stood when the same command is given again.
    """


@train.command()
@_shared_options
def region(**options: Any) -> None:
    """Train the classifier of regions. Images whose region is not certain are left out."""
    _run("region", None, options)


@train.command()
@click.option("--region", "region_name", required=True, help="elbow, hand, shoulder, …; `all` for one model of all.")
@_shared_options
def fracture(region_name: str, **options: Any) -> None:
    """Train the fracture model of one region."""
    _run("fracture", region_name, options)


def _run(task_name: str, region_name: str | None, options: dict[str, Any]) -> None:
    from fractureai.training import fit
    from fractureai.training.augment import Recipe
    from fractureai.training.datasets.opening import open_dataset
    from fractureai.training.initial import read_initial
    from fractureai.training.pictures import load_pictures, phantom_pictures
    from fractureai.training.runs import RunFolder

    dataset = open_dataset(options["data"])
    regions = list(dataset.regions) if region_name in (None, "all") else [str(region_name)]
    pictures = load_pictures(dataset.split("train"), regions)
    held_out = load_pictures(dataset.split("val"), regions)
    if not pictures or not held_out:
        raise BrokenDeployment(f"{options['data']} has no training or no validation images of {', '.join(regions)}")
    full = (options["height_px"], options["width_px"])
    schedule = fit.Schedule(
        frozen_epochs=options["frozen_epochs"],
        epochs=options["epochs"],
        steps=options["steps"],
        batch_size=options["batch_size"],
        rate=options["rate"],
        patience=options["patience"],
        seed=options["seed"],
    )
    recipe = Recipe(*full, *full)
    outputs = [f"{task_name} {name}" for name in (regions if task_name == "region" else [str(region_name)])]
    facts = {"task": task_name, "outputs": outputs, "regions": regions, "data": options["data"].name}
    facts |= {name: options[name] for name in ("init", "phantoms", "height_px", "width_px")}
    run = RunFolder(options["out"], fit.settings(recipe, schedule, **facts))
    task = fit.region_task(regions) if task_name == "region" else fit.fracture_task()
    initial = read_initial(options["init"], run.path)
    if initial is not None:
        run.remember(initial_weights=initial.origin)
    extra = phantom_pictures(regions, options["phantoms"], options["seed"])
    fit.train(task, pictures, held_out, recipe, schedule, run, initial, extra, verbose=0 if options["quiet"] else 1)
    click.echo(f"validation AUC {run.state['best']:.3f}; weights in {run.path / 'weights.h5'}")


@train.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help=_DATA_HELP)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help=_OUT_HELP)
@click.option("--height", "height_px", default=480, show_default=True, help="Height of the canvas, px.")
@click.option("--width", "width_px", default=384, show_default=True, help="Width of the canvas, px.")
@click.option(
    "--steps",
    default=(400, 3000),
    show_default=True,
    type=(int, int),
    help="Steps with windows, and with the whole anatomy at a falling rate.",
)
@click.option("--batch-size", default=32, show_default=True, help="Of windows; half as many at full size.")
@click.option("--rate", default=3e-4, show_default=True, help="Highest learning rate.")
@click.option("--splits", default="train,val", show_default=True, help="Parts to train on, comma between.")
@click.option("--folds", default=3, show_default=True, help="Folds of those parts, for --hold-out.")
@click.option("--hold-out", type=int, help="Leave this fold (from 0) out, for cross-fitting; all is learnt by default.")
@click.option("--phantoms", default=1500, show_default=True, help="Phantoms among the training pictures.")
@click.option("--foreign", default=60, show_default=True, help="Drawn pictures of each kind that are no limbs.")
@click.option(
    "--init",
    default=IMAGENET,
    show_default=True,
    help="Where to start: imagenet, none, the folder of a packaged network or of another run, or a weights file.",
)
@click.option("--seed", default=0, show_default=True)
def shared(data: Path, out: Path, **options: Any) -> None:  # fmt: skip
    """Train one network on all regions at once: what the shipped models are made of.

    Leaves weights.h5 in the run folder, for `train package`. Runs on a GPU if PyTorch finds one.
    """
    _check_engine()
    from fractureai.domain.canvas import Canvas
    from fractureai.training.batches import BalancedSource, as_served
    from fractureai.training.datasets.folds import fold_of_block
    from fractureai.training.datasets.opening import open_dataset
    from fractureai.training.initial import read_initial
    from fractureai.training.native.shared import train_shared
    from fractureai.training.pictures import kept_phantoms, load_pictures, strangers
    from fractureai.training.runs import RunFolder
    from fractureai.training.schedule import schedule

    dataset = open_dataset(data).split(*options["splits"].split(","))
    regions, canvas = list(dataset.regions), Canvas(options["height_px"], options["width_px"])
    held_out, learnt, hold_out = dataset.only(lambda _: False), dataset, options["hold_out"]
    if hold_out is not None:
        folds = fold_of_block(dataset.samples, options["folds"])
        learnt = dataset.only(lambda sample: folds[sample.block] != hold_out)
        held_out = dataset.only(lambda sample: folds[sample.block] == hold_out)
    outputs = shared_outputs(regions)
    facts = {"task": "shared", "data": data.name, "outputs": outputs, "regions": regions, **options}
    facts["init"] = Path(options["init"]).name  # it goes into the card: no path of this machine
    run = RunFolder(out, facts)
    source = BalancedSource(
        load_pictures(learnt, regions),
        kept_phantoms(out / "phantoms.npz", regions, options["phantoms"], options["seed"]),
        strangers(options["foreign"], options["seed"]),
        seed=options["seed"],
    )
    watched = as_served(load_pictures(held_out, regions), canvas) if held_out.samples else None
    stages = schedule(canvas, options["steps"], options["batch_size"], options["rate"])
    initial = read_initial(options["init"], out)
    if initial is not None:
        run.remember(initial_weights=initial.origin)
    train_shared(source, outputs, stages, run, watched, options["seed"], initial)
    click.echo(str(out / "weights.h5"))


def _check_engine() -> None:
    if not (Path(__file__).parent / "native").is_dir():
        raise BrokenDeployment(
            "The training engine is not in the installed package. Train from a checkout of the repository."
        )
    if importlib.util.find_spec("torch") is None:
        raise BrokenDeployment("The shared training needs PyTorch. Install the extra `train-native`.")


@train.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default="limbs", show_default=True, help="Folder of the network.")
@click.option(
    "--second-view",
    type=click.Choice(["none", "turned", "mirrored"]),
    default="turned",
    show_default=True,
    help="Average over the picture turned by 180°, or mirrored, when serving.",
)
@click.option("--version", default="0.1.0", show_default=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="What it learnt from: counts for the cards.")
@click.option("--limit", "limits", multiple=True, help="A sentence to add to the cards' limits; may be repeated.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("models"), show_default=True)
def package(run: Path, name: str, second_view: str, version: str, **options: Any) -> None:  # fmt: skip
    """Turn a RUN folder into folders of models.

    The network with its OpenVINO graph and Keras weights, and a model for each of its decisions, with cards without
    figures.
    """
    from fractureai.domain.card import InputSpec
    from fractureai.training.datasets.opening import open_dataset
    from fractureai.training.packaging import Package, image_counts
    from fractureai.training.packaging import package as write
    from fractureai.training.runs import WEIGHTS, described

    told = described(run)
    settings = told["settings"]
    what = Package(
        name=name,
        version=version,
        input=InputSpec.model_validate(
            {"height_px": settings["height_px"], "width_px": settings["width_px"], "second_view": second_view}
        ),
        outputs=tuple(settings["outputs"]),
        localised=tuple(settings["regions"]) if settings["task"] == "shared" else (),
        limits=options["limits"],
        images=image_counts(open_dataset(options["data"])) if options["data"] else {},
        initial_weights=told["state"].get("initial_weights", "random"),
        training={key: value for key, value in told.items() if key != "state"},
    )
    for path in write(run / WEIGHTS, what, options["out"]):
        click.echo(str(path))
