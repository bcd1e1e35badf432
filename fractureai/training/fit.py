"""Training with Keras: frozen base first, then all of it; early stopping on validation AUC; resumes after a kill.

Runs on any Keras back end (``KERAS_BACKEND=tensorflow|jax|torch``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from fractureai.domain.canvas import Canvas
from fractureai.training import losses
from fractureai.training import network as net
from fractureai.training.architecture import HEAD, NetworkSpec
from fractureai.training.augment import Recipe
from fractureai.training.batches import BalancedSource, Batch, as_served
from fractureai.training.initial import InitialWeights
from fractureai.training.pictures import Picture
from fractureai.training.runs import WEIGHTS, RunFolder

BEST = "best.weights.h5"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast.

    Attributes
    ----------
    frozen_epochs, epochs:
        Most epochs with the base frozen and with everything trained. The frozen phase is for initial weights that
        know something; without any it is skipped.
    steps:
        Batches an epoch.
    frozen_rate, rate:
        Highest learning rate of each phase (AdamW); it falls along a cosine.
    patience:
        Epochs without a better validation AUC after which a phase ends.
    """

    frozen_epochs: int
    epochs: int
    steps: int
    batch_size: int
    frozen_rate: float = 1e-3
    rate: float = 3e-4
    weight_decay: float = 0.02
    patience: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.steps, self.batch_size) < 1:
            raise ValueError(f"a schedule needs at least one epoch, step and picture, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a network is fitted to.

    Attributes
    ----------
    spec:
        The network's classes.
    loss:
        On the logits.
    targets:
        Targets of a batch, in the loss's shape.
    score:
        ``(logits, validation batch)`` to the number that early stopping watches; higher is better.
    """

    spec: NetworkSpec
    loss: keras.losses.Loss
    targets: Callable[[Batch], npt.NDArray[np.float32]]
    score: Callable[[npt.NDArray[np.float32], Batch], float]


def region_task(regions: Sequence[str]) -> Task:
    """Softmax over the regions; watched: mean one-against-rest AUC."""
    names = tuple(regions)

    def score(logits: npt.NDArray[np.float32], batch: Batch) -> float:
        return _mean_auc([(batch.region == place, logits[:, place]) for place in range(len(names))])

    def targets(batch: Batch) -> npt.NDArray[np.float32]:
        return np.eye(len(names), dtype=np.float32)[batch.region]

    return Task(NetworkSpec(names), losses.region_loss(), targets, score)


def fracture_task() -> Task:
    """One sigmoid; watched: AUC, averaged over the regions present."""

    def score(logits: npt.NDArray[np.float32], batch: Batch) -> float:
        present = [batch.region == place for place in np.unique(batch.region)]
        return _mean_auc([(batch.fractured[own] > 0, logits[own, 0]) for own in present])

    def targets(batch: Batch) -> npt.NDArray[np.float32]:
        return batch.fractured[:, None]

    return Task(NetworkSpec(("fracture",)), losses.fracture_loss(), targets, score)


class _Stream(keras.utils.PyDataset):  # type: ignore[misc]
    """An epoch's batches; another epoch, other batches."""

    def __init__(self, source: BalancedSource, task: Task, recipe: Recipe, schedule: Schedule) -> None:
        super().__init__(workers=1)
        self._source, self._task, self._recipe, self._schedule = source, task, recipe, schedule
        self.epoch = 0

    def __len__(self) -> int:
        return self._schedule.steps

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        number = self.epoch * self._schedule.steps + index
        batch = self._source.batch(number, self._schedule.batch_size, self._recipe)
        return batch.image[..., None], self._task.targets(batch), batch.weight


class _Validate(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds ``val_auc`` to the epoch's logs, on the canvas of serving; tells the stream which epoch it is."""

    def __init__(self, task: Task, stream: _Stream, held_out: Batch) -> None:
        super().__init__()
        self._task, self._stream, self._held_out = task, stream, held_out

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Number the batches by epoch, also after a restart."""
        del logs
        self._stream.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score the validation pictures."""
        del epoch
        if logs is None:
            return
        logits = self.model.predict(self._held_out.image[..., None], batch_size=16, verbose=0)
        logs["val_auc"] = self._task.score(np.asarray(logits), self._held_out)


class _Record(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the log and stops early.

    Keeps the best weights in a file and its score in the run's state, so that a restart goes on counting.
    """

    def __init__(self, run: RunFolder, phase: str, patience: int) -> None:
        super().__init__()
        self._run, self._phase, self._patience = run, phase, patience

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log, compare, keep, stop."""
        value = (logs or {})["val_auc"]
        self._run.log({"phase": self._phase, "epoch": epoch, **(logs or {})})
        state = self._run.state
        if value > state.get("best", float("-inf")):
            net.save_weights(self.model, self._run.path / BEST, half=False)
            self._run.remember(best=value, best_phase=self._phase, best_epoch=epoch, since=0)
        else:
            since = state.get("since", 0) + 1
            self._run.remember(since=since)
            self.model.stop_training = since >= self._patience


def train(
    task: Task,
    pictures: Sequence[Picture],
    held_out: Sequence[Picture],
    recipe: Recipe,
    schedule: Schedule,
    run: RunFolder,
    initial: InitialWeights | None = None,
    extra: Sequence[Picture] = (),
    verbose: int = 1,
) -> keras.Model:
    """Fit a network and leave its best weights in ``run/weights.h5``.

    Called again on the same run folder it goes on after the last finished epoch.
    """
    keras.utils.set_random_seed(schedule.seed)
    network = net.build(task.spec, drop_rate=0.2)
    if initial is not None:
        net.assign(network, initial.arrays, skip_heads=True)
    source = BalancedSource(pictures, extra, seed=schedule.seed)
    watched = as_served(held_out, Canvas(recipe.height_px, recipe.width_px))
    phases = [("frozen", schedule.frozen_epochs if initial else 0), ("fine", schedule.epochs)]
    for phase, epochs in phases:
        if epochs and phase not in run.state.get("done", []):
            stream = _Stream(source, task, recipe, schedule)
            _phase(network, task, stream, watched, schedule, run, phase, epochs, verbose)
            run.remember(done=[*run.state.get("done", []), phase], since=0)
            net.load_weights(network, run.path / BEST)
    net.load_weights(network, run.path / BEST)
    net.save_weights(network, run.path / WEIGHTS)
    return network


def _phase(
    network: keras.Model,
    task: Task,
    stream: _Stream,
    watched: Batch,
    schedule: Schedule,
    run: RunFolder,
    phase: str,
    epochs: int,
    verbose: int,
) -> None:
    for layer in network.layers:
        # Frozen batch normalisation also keeps its statistics (Keras guide to transfer learning).
        layer.trainable = phase == "fine" or layer.name == HEAD
    highest = schedule.rate if phase == "fine" else schedule.frozen_rate
    rate = keras.optimizers.schedules.CosineDecay(highest, epochs * schedule.steps)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=schedule.weight_decay, clipnorm=5.0), task.loss, jit_compile="auto"
    )
    callbacks = [
        _Validate(task, stream, watched),
        _Record(run, phase, schedule.patience),
        keras.callbacks.BackupAndRestore(run.path / f"resume-{phase}"),
    ]
    network.fit(stream, epochs=epochs, callbacks=callbacks, verbose=verbose)


def settings(recipe: Recipe, schedule: Schedule, **others: Any) -> dict[str, Any]:
    """The run's settings as plain values, for the run folder."""
    return {"recipe": asdict(recipe), "schedule": asdict(schedule), **others}


def _mean_auc(pairs: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]]) -> float:
    """Mean over those that have both labels; .5 if none has."""
    values = [roc_auc_score(label, value) for label, value in pairs if label.any() and not label.all()]
    return float(np.mean(values)) if values else 0.5
