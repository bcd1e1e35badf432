"""The shared training in Keras, for GPUs: one backbone, a fracture logit for each region, the region, a dense map.

The recipe is that of :mod:`fractureai.training.native.shared`, with AdamW for every weight. Runs on any Keras back end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fractureai.training import losses
from fractureai.training import network as net
from fractureai.training.batches import BalancedSource, Batch
from fractureai.training.initial import InitialWeights, Logit
from fractureai.training.runs import RunFolder
from fractureai.training.schedule import Stage

LOSS_SHARES = {"fracture": 1.0, "region": 0.4, "dense": 0.7, "attention": 0.1}
_HEADS = ("fracture", "region", "dense")
_EPOCH_STEPS = 100
_WARM_UP_STEPS = 50
_DROP = 0.2


def build_shared(regions: int) -> keras.Model:
    """From ``image`` ``(N, H, W, 1)`` to ``fracture`` and ``region`` ``(N, R)``, ``dense`` and ``attention``
    ``(N, h, w, R)`` logits; the mean of ``attention`` over the cells is ``fracture``.
    """
    base = net.backbone()
    # Whole channels are dropped, as the pooled features would be.
    cells = keras.layers.SpatialDropout2D(_DROP)(base.output)
    small = keras.initializers.RandomNormal(stddev=0.01)
    fracture, region, dense = (
        keras.layers.Dense(regions, name=f"{name}_cells", dtype="float32", kernel_initializer=small) for name in _HEADS
    )
    # Nearly every cell is without a fracture (Lin 2017, section 3.3).
    dense.bias_initializer = keras.initializers.Constant(-4.0)
    attention = fracture(cells)
    outputs = {
        "fracture": keras.layers.GlobalAveragePooling2D(name="fracture")(attention),
        "region": keras.layers.GlobalAveragePooling2D(name="region")(region(cells)),
        "dense": dense(base.output),
        "attention": attention,
    }
    return keras.Model(base.input, outputs, name="shared_b1")


def train_shared(
    source: BalancedSource,
    regions: Sequence[str],
    stages: Sequence[Stage],
    run: RunFolder,
    initial: InitialWeights | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> keras.Model:
    """Run the stages, or what is left of them, and return the network with its averaged weights.

    A killed run goes on after its last finished hundred steps.
    """
    keras.utils.set_random_seed(seed)
    network = build_shared(len(regions))
    if initial is not None:
        start_from(network, initial, regions)
    first = 0
    for number, stage in enumerate(stages):
        kept = run.path / f"stage-{number}.weights.h5"
        if kept.is_file():
            network.load_weights(kept)
        elif stage.steps:
            _run_stage(network, _Stream(source, stage, len(regions), first), run, number, verbose)
            network.save_weights(kept)
        first += stage.steps
    return network


def export_parts(network: keras.Model, regions: Sequence[str], folder: Path) -> list[Path]:
    """Write ``region.h5`` and ``fracture-<region>.h5``, for :func:`fractureai.training.network.load_weights`."""
    outputs = {"region": ("region", slice(None))}
    outputs |= {f"fracture-{name}": ("fracture", slice(place, place + 1)) for place, name in enumerate(regions)}
    trained = {name: weight.numpy() for name, weight in net.stored_variables(network).items()}
    singles: dict[int, keras.Model] = {}
    for name, (head, columns) in outputs.items():
        kernel, bias = (trained[f"{head}_cells/{part}"][..., columns] for part in ("kernel", "bias"))
        if len(bias) not in singles:
            singles[len(bias)] = net.build(net.NetworkSpec(tuple(map(str, range(len(bias))))))
        single = singles[len(bias)]
        for weight, variable in net.stored_variables(single).items():
            variable.assign({"head/kernel": kernel, "head/bias": bias}.get(weight, trained.get(weight)))
        net.save_weights(single, folder / f"{name}.h5", half=False)
    return [folder / f"{name}.h5" for name in outputs]


class _Stream(keras.utils.PyDataset):  # type: ignore[misc]
    """A stage's batches, in epochs of a hundred; their numbers go on from ``first``."""

    def __init__(self, source: BalancedSource, stage: Stage, regions: int, first: int) -> None:
        super().__init__(workers=1)
        self._source, self.stage, self._regions, self._first = source, stage, regions, first
        self.epoch = 0
        self.epochs = math.ceil(stage.steps / _EPOCH_STEPS)

    def __len__(self) -> int:
        return min(_EPOCH_STEPS, self.stage.steps)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        number = self._first + self.epoch * len(self) + index
        batch = self._source.batch(number, self.stage.batch_size, self.stage.recipe)
        return batch.image, targets(batch, self._regions)


def targets(batch: Batch, regions: int) -> dict[str, np.ndarray]:
    """What each output is held to."""
    label = np.where(batch.weight > 0, batch.fractured, losses.NOT_COUNTED).astype(np.float32)
    cells = losses.region_targets(batch.region, batch.cells, regions)
    return {
        "fracture": losses.region_targets(batch.region, label, regions),
        "region": losses.region_shares(batch.region, regions),
        "dense": cells,
        "attention": cells,
    }


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the stream which epoch it is, also after a restart, and writes the log."""

    def __init__(self, stream: _Stream, run: RunFolder, number: int) -> None:
        super().__init__()
        self._stream, self._run, self._number = stream, run, number

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Number the batches by epoch."""
        del logs
        self._stream.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """A line of the log."""
        self._run.log({"stage": self._number, "epoch": epoch, **(logs or {})})


def _run_stage(network: keras.Model, stream: _Stream, run: RunFolder, number: int, verbose: int) -> None:
    stage = stream.stage
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, stage.steps, alpha=0.01 if stage.decay else 1.0, warmup_target=stage.rate, warmup_steps=_WARM_UP_STEPS
    )
    # The average takes the weights' place when fitting ends.
    optimiser = keras.optimizers.AdamW(
        rate, weight_decay=0.02, clipnorm=5.0, beta_2=0.99, use_ema=True, ema_momentum=stage.average
    )
    parts = {
        "fracture": losses.OwnRegionLoss(),
        "region": losses.region_loss(),
        "dense": losses.BoxLoss(),
        "attention": losses.OutsideLoss(),
    }
    network.compile(optimiser, parts, loss_weights=LOSS_SHARES, jit_compile="auto")
    callbacks = [_Watch(stream, run, number), keras.callbacks.BackupAndRestore(run.path / f"resume-{number}")]
    network.fit(stream, epochs=stream.epochs, callbacks=callbacks, verbose=verbose)


def start_from(network: keras.Model, initial: InitialWeights, regions: Sequence[str]) -> None:
    """Overwrite what is known: the backbone, the region head, each region's fracture logit."""
    variables = net.stored_variables(network)
    for name, variable in variables.items():
        if not name.startswith(tuple(f"{head}_cells" for head in _HEADS)):
            variable.assign(initial.get(name, tuple(variable.shape)))
    for head, logits in (("fracture", initial.fracture), ("region", initial.region)):
        _load_head(variables[f"{head}_cells/kernel"], variables[f"{head}_cells/bias"], logits, regions)


def _load_head(kernel: keras.Variable, bias: keras.Variable, logits: dict[str, Logit], regions: Sequence[str]) -> None:
    weights, offsets = np.array(kernel.numpy()), np.array(bias.numpy())
    for name, logit in logits.items():
        weights[:, regions.index(name)], offsets[regions.index(name)] = logit
    kernel.assign(weights)
    bias.assign(offsets)
