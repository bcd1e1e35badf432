"""`fractureai train …`: from labelled radiographs to a run folder with weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fractureai.errors import BrokenDeployment

if TYPE_CHECKING:  # Keras and OpenCV are loaded by the commands that need them.
    from fractureai.training.batches import BalancedSource
    from fractureai.training.datasets.values import Dataset
    from fractureai.training.initial import InitialWeights
    from fractureai.training.runs import RunFolder
    from fractureai.training.schedule import Stage

DEFAULT_SIZE_PX = 224


def _shared_options(command: Any) -> Any:
    for option in reversed(
        [
            click.option("--data", type=click.Path(exists=True, path_type=Path), required=True,
                         help="FracAtlas, MURA, or a CSV file with its images."),
            click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
                         help="Run folder; naming an unfinished run resumes it."),
            click.option("--size", default=DEFAULT_SIZE_PX, show_default=True, help="Side of the canvas, px."),
            click.option("--init", default="imagenet", show_default=True,
                         help="Initial weights: imagenet (fetched by Keras), none, or a weights.h5 of another run."),
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
    from fractureai.training.pictures import load_pictures, phantom_pictures
    from fractureai.training.runs import RunFolder

    dataset = open_dataset(options["data"])
    regions = list(dataset.regions) if region_name in (None, "all") else [str(region_name)]
    pictures = load_pictures(dataset.split("train"), regions)
    held_out = load_pictures(dataset.split("val"), regions)
    if not pictures or not held_out:
        raise BrokenDeployment(f"{options['data']} has no training or no validation images of {', '.join(regions)}")
    size = options["size"]
    schedule = fit.Schedule(
        frozen_epochs=options["frozen_epochs"],
        epochs=options["epochs"],
        steps=options["steps"],
        batch_size=options["batch_size"],
        rate=options["rate"],
        patience=options["patience"],
        seed=options["seed"],
    )
    recipe = Recipe(size_px=size, canvas_px=size, whole=True, zoom=0.15)
    facts = {"task": task_name, "regions": regions, "data": options["data"].name, "init": options["init"],
             "phantoms": options["phantoms"]}  # fmt: skip
    run = RunFolder(options["out"], fit.settings(recipe, schedule, **facts))
    task = fit.region_task(regions) if task_name == "region" else fit.fracture_task()
    initial = initial_weights(options["init"], run.path)
    extra = phantom_pictures(regions, options["phantoms"], options["seed"])
    fit.train(task, pictures, held_out, recipe, schedule, run, initial, extra, verbose=0 if options["quiet"] else 1)
    click.echo(f"validation AUC {run.state['best']:.3f}; weights in {run.path / 'weights.h5'}")


@train.command()
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="FracAtlas, MURA, or a CSV file with its images.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Run folder; naming an unfinished run resumes it.",
)
@click.option("--size", default=320, show_default=True, help="Side of the canvas in the last stage, px.")
@click.option(
    "--steps",
    default=(1500, 3000, 2000),
    show_default=True,
    type=(int, int, int),
    help="Steps with small windows, with larger ones, and with whole pictures.",
)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--splits", default="train", show_default=True, help="Parts to train on, comma between.")
@click.option("--phantoms", default=1500, show_default=True, help="Phantoms among the training pictures.")
@click.option("--phantom-every", default=8, show_default=True, help="Every so many pictures of a batch is a phantom.")
@click.option("--foreign", default=60, show_default=True, help="Drawn pictures of each kind that are no limbs.")
@click.option(
    "--init",
    default="none",
    show_default=True,
    help="Where to start: none (from scratch), a folder of packaged models or of another run, or a weights file, of "
    "which the backbone is taken.",
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--engine",
    type=click.Choice(["native", "keras"]),
    default="native",
    show_default=True,
    help="native: fast on a CPU with AVX2 or AVX-512 BF16 (extra `train-native`); keras: for GPUs, on any back end.",
)
def shared(data: Path, out: Path, size: int, steps: tuple[int, int, int], **options: Any) -> None:  # fmt: skip
    """Train one backbone on all regions at once: what the shipped models are made of.

    Leaves region.h5 and fracture-<region>.h5, weights of the shipped networks, in the run folder.
    """
    _check_engine(options["engine"])
    from fractureai.training.batches import BalancedSource
    from fractureai.training.datasets.opening import open_dataset
    from fractureai.training.initial import read_initial
    from fractureai.training.pictures import kept_phantoms, load_pictures, strangers
    from fractureai.training.runs import RunFolder
    from fractureai.training.schedule import growing

    everything = open_dataset(data)
    dataset = everything.split(*options["splits"].split(","))
    regions, seed = list(dataset.regions), options["seed"]
    initial = None if options["init"] == "none" else read_initial(_existing(options["init"]), regions)
    facts = {"task": "shared", "data": data.name, "size": size, "steps": steps, "regions": regions, **options}
    run = RunFolder(out, facts)
    phantoms = kept_phantoms(out / "phantoms.npz", regions, options["phantoms"], seed)
    pictures = load_pictures(dataset, regions)
    foreign = strangers(pictures, options["foreign"], seed)
    source = BalancedSource(pictures, phantoms, foreign, seed=seed, extra_every=options["phantom_every"])
    stages = growing(size, steps, options["batch_size"])
    if options["engine"] == "keras":
        from fractureai.training import fit_shared

        network = fit_shared.train_shared(source, regions, stages, run, initial, seed)
        paths = fit_shared.export_parts(network, regions, out)
    else:
        paths = _train_native(everything, source, stages, run, initial)
    for path in paths:
        click.echo(str(path))


def _check_engine(engine: str) -> None:
    if engine == "native" and not (Path(__file__).parent / "native").is_dir():
        raise BrokenDeployment(
            "The native training engine is not in the installed package. Train from a checkout of the repository, or "
            "use --engine keras."
        )


def _train_native(
    everything: Dataset,
    source: BalancedSource,
    stages: Sequence[Stage],
    run: RunFolder,
    initial: InitialWeights | None,
) -> list[Path]:
    """Train with this package's own kernels; ``val`` is looked at where it is not learnt from."""
    from fractureai.training.batches import as_served
    from fractureai.training.native.shared import export_parts, train_shared
    from fractureai.training.pictures import load_pictures

    options = run.settings
    regions, held_out = options["regions"], load_pictures(everything.split("val"), options["regions"])
    watched = as_served(held_out, options["size"]) if held_out and "val" not in options["splits"] else None
    return export_parts(
        train_shared(source, regions, stages, run, watched, options["seed"], initial), regions, run.path
    )


def _existing(choice: str) -> Path:
    path = Path(choice)
    if not path.exists():
        raise BrokenDeployment(f"there is no {path} to start from; use --init none to start from scratch")
    return path


@train.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Folder of the model: region, fracture-hand, …")
@click.option("--region", "region_name", help="The fracture model's region; none for the classifier of regions.")
@click.option(
    "--classes",
    default="elbow,hand,hip,leg,shoulder",
    show_default=True,
    help="Of the classifier, in the order of its training (alphabetical), comma between.",
)
@click.option("--size", default=DEFAULT_SIZE_PX, show_default=True, help="Side of the canvas, px.")
@click.option("--flip", is_flag=True, help="Average over the mirror image when serving.")
@click.option("--version", default="0.1.0", show_default=True)
@click.option(
    "--described-by",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Run folder whose settings go into the card.",
)
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="What it learnt from: counts for the card.")
@click.option("--limit", "limits", multiple=True, help="A sentence to add to the card's limits; may be repeated.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("models"), show_default=True)
def package(weights: Path, name: str, region_name: str | None, classes: str, **options: Any) -> None:  # fmt: skip
    """Turn WEIGHTS into a folder of models: OpenVINO graph, Keras weights, card without figures."""
    import json

    from fractureai.training.datasets.opening import open_dataset
    from fractureai.training.packaging import Package, image_counts
    from fractureai.training.packaging import package as write
    from fractureai.training.runs import CONFIG

    described = options["described_by"]
    what = Package(
        name=name,
        version=options["version"],
        classes=("fracture",) if region_name else tuple(classes.split(",")),
        size_px=options["size"],
        region=region_name,
        test_time_flip=options["flip"],
        limits=options["limits"],
        images=image_counts(open_dataset(options["data"]), region_name) if options["data"] else {},
        training=_told(json.loads((described / CONFIG).read_text(encoding="utf-8"))) if described else {},
    )
    click.echo(str(write(weights, what, options["out"])))


def _told(config: dict[str, Any]) -> dict[str, Any]:
    """What a card repeats of a run: no command line, which may hold paths of the machine."""
    return {name: value for name, value in config.items() if name != "command"}


def initial_weights(choice: str, run: Path) -> Path | None:
    """``imagenet``, ``none`` or a file, as a file to start from.

    Raises
    ------
    BrokenDeployment
        If ImageNet weights cannot be fetched or the file is missing; the message says what else can be done.
    """
    if choice == "none":
        return None
    if choice != "imagenet":
        path = Path(choice)
        if not path.is_file():
            raise BrokenDeployment(f"initial weights {path} are missing; use --init none to start from scratch")
        return path
    from fractureai.training import network as net

    target = run / "imagenet.h5"
    if not target.is_file():
        try:
            net.save_imagenet(target)
        except Exception as error:
            # Keras raises whatever its downloader met: URLError, OSError, a plain Exception.
            raise BrokenDeployment(
                f"ImageNet weights cannot be fetched ({error}); give a file or --init none"
            ) from error
    return target
