"""Train one backbone on all regions at once, on a CPU, from scratch or from weights there are already.

Three heads learn together: the fracture logit of each region, the region, and a map of where fractures are, held to the
marked boxes. Sizes grow: small windows first, then larger ones, then whole pictures as they will be served.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own custom

from fractureai.training.augment import FRACTURE, UNSURE
from fractureai.training.batches import BalancedSource, Batch
from fractureai.training.initial import InitialWeights
from fractureai.training.losses import FOCUS, FRACTURE_SHARE, LABEL_SMOOTHING, REGION_SMOOTHING
from fractureai.training.native.kernels import keep_memory
from fractureai.training.native.network import Backbone, SharedNetwork, Weights, keras_weights
from fractureai.training.native.optimiser import Muon
from fractureai.training.native.starting import start_from
from fractureai.training.native.watching import measure
from fractureai.training.pictures import NO_REGION
from fractureai.training.runs import RunFolder
from fractureai.training.schedule import Stage

CHECKPOINT = "checkpoint.pt"
# Of the parts of the loss, in the order of _losses.
_PARTS = {"fracture": 1.0, "region": 0.4, "map": 0.7, "attention": 0.1}
# A fracture fills about one cell in a hundred, and the mean over cells dilutes it as much: its head has far to go.
_HEAD_GAIN = 4.0
_CLIP = 5.0
_WARM_UP_STEPS = 50
_LOOK_EVERY = 200
_MUON_GAIN = 2.0


def train_shared(
    source: BalancedSource,
    regions: Sequence[str],
    stages: Sequence[Stage],
    run: RunFolder,
    held_out: Batch | None = None,
    seed: int = 0,
    initial: InitialWeights | None = None,
) -> SharedNetwork:
    """Run the stages, or what is left of them, and return the averaged network in evaluation mode.

    ``held_out`` is only looked at: every two hundred steps its measures go into the log. ``initial`` is where a new
    training starts; ``None`` is from scratch.
    """
    torch.manual_seed(seed)
    keep_memory()
    trainer = _Trainer(len(regions), held_out)
    if not trainer.resume(run.path / CHECKPOINT) and initial is not None:
        start_from(trainer.network, initial, regions)
        trainer.average.load_state_dict(trainer.network.state_dict())
    first = 0
    for stage in stages:
        begin, first = first, first + stage.steps
        if trainer.step < first:
            trainer.run_stage(stage, begin, source, run)
    return trainer.average.eval()


def export_parts(network: SharedNetwork, regions: Sequence[str], folder: Path) -> list[Path]:
    """Write ``region.h5`` and ``fracture-<region>.h5``, for :func:`fractureai.training.network.load_weights`."""
    parts = {"region": keras_weights(network, "region", slice(None))}
    for place, name in enumerate(regions):
        parts[f"fracture-{name}"] = keras_weights(network, "fracture", slice(place, place + 1))
    for name, weights in parts.items():
        _write(folder / f"{name}.h5", weights)
    return [folder / f"{name}.h5" for name in parts]


class _Trainer:
    def __init__(self, regions: int, held_out: Batch | None) -> None:
        self._held_out = held_out
        self.network, self.average, self.step = SharedNetwork(regions), SharedNetwork(regions), 0
        self.average.load_state_dict(self.network.state_dict())
        matrices = {id(weight): weight for weight in _matrices(self.network.backbone)}
        others = [weight for weight in self.network.parameters() if id(weight) not in matrices]
        head = self.network.fracture.weight
        groups = [
            {"params": [weight for weight in others if weight.ndim > 1 and weight is not head], "weight_decay": 0.02},
            {"params": [weight for weight in others if weight.ndim <= 1], "weight_decay": 0.0},
            {"params": [head], "weight_decay": 0.02, "gain": _HEAD_GAIN},
        ]
        self._adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
        self._muon = Muon(matrices.values(), 1e-3)

    def run_stage(self, stage: Stage, begin: int, source: BalancedSource, run: RunFolder) -> None:
        """Train to the stage's end, a checkpoint and a line of the log every hundred steps."""
        entered, started, losses = self.step, time.monotonic(), []
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(source.batch, self.step, stage.batch_size, stage.recipe)
            while self.step < begin + stage.steps:
                batch = coming.result()
                coming = ahead.submit(source.batch, self.step + 1, stage.batch_size, stage.recipe)
                losses.append(self._learn(batch, _rate(stage, self.step - begin, self.step - entered), stage.average))
                self.step += 1
                if self.step % 100 == 0 or self.step == begin + stage.steps:
                    self._save(run.path / CHECKPOINT)
                    speed = stage.batch_size * len(losses) / (time.monotonic() - started)
                    means = {
                        f"loss_{name}": value for name, value in zip(_PARTS, np.mean(losses, 0).round(4), strict=True)
                    }
                    run.log({"step": self.step, **means, "images_per_s": round(speed, 1), **self._look()})
                    started, losses = time.monotonic(), []

    def _look(self) -> dict[str, float | str]:
        if self._held_out is None:
            return {}
        if self.step % _LOOK_EVERY:
            return dict.fromkeys(("val_auc", "val_auc_map", "val_region_accuracy"), "")
        return measure(self.average, self._held_out)

    def _learn(self, batch: Batch, rate: float, average: float) -> list[float]:
        for group in self._adam.param_groups:
            group["lr"] = rate * group.get("gain", 1.0)
        for group in self._muon.param_groups:
            group["lr"] = rate * _MUON_GAIN
        self.network.train()
        parts = _losses(self.network, batch)
        sum(share * part for share, part in zip(_PARTS.values(), parts, strict=True)).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        for optimiser in (self._adam, self._muon):
            optimiser.step()
            optimiser.zero_grad()
        with torch.no_grad():
            share = 1 - min(average, (self.step + 1) / (self.step + 20))
            torch._foreach_lerp_(
                list(self.average.state_dict().values()), list(self.network.state_dict().values()), share
            )
        return [float(part.detach()) for part in parts]

    def resume(self, path: Path) -> bool:
        """Load a checkpoint if there is one, and say whether there was."""
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._adam.load_state_dict(state["adam"])
        self._muon.load_state_dict(state["muon"])
        self.step = state["step"]
        return True

    def _save(self, path: Path) -> None:
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "adam": self._adam.state_dict(),
            "muon": self._muon.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)


def _losses(network: SharedNetwork, batch: Batch) -> list[torch.Tensor]:
    region = torch.from_numpy(batch.region).long()
    label, weight, cells = (torch.from_numpy(part) for part in (batch.fractured, batch.weight, batch.cells))
    found = network(torch.from_numpy(batch.image[..., 0]))
    own, some = torch.arange(len(region)), region.clamp(min=0)
    smooth = label * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / 2
    each = F.binary_cross_entropy_with_logits(found.fracture[own, some], smooth, reduction="none")
    of_fracture = (each * weight).sum() / weight.sum().clamp(min=1)
    of_region = F.cross_entropy(found.region, _region_target(region, found.region.shape[1]))
    of_map = _focal(found.dense[own, :, :, some], cells)
    of_attention = _outside(found.attention[own, :, :, some], cells)
    return [of_fracture, of_region, of_map, of_attention]


def _region_target(region: torch.Tensor, regions: int) -> torch.Tensor:
    """Probabilities ``(N, R)``: the region, smoothed; all alike for what is no limb."""
    target = torch.full((len(region), regions), REGION_SMOOTHING / regions)
    known = region != NO_REGION
    target[known, region[known]] += 1 - REGION_SMOOTHING
    target[~known] = 1 / regions
    return target


def _focal(logits: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Focal loss (Lin 2017) of the dense map, per marked cell of the batch."""
    target, counted = (cells == FRACTURE).float(), (cells != UNSURE).float()
    right = torch.sigmoid(torch.where(target > 0, logits, -logits))
    share = torch.where(target > 0, FRACTURE_SHARE, 1 - FRACTURE_SHARE)
    cell = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focal = (share * (1 - right) ** FOCUS * cell * counted).sum()
    return focal / (target * counted).sum().clamp(min=4)


def _outside(attention: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """How much of the fracture logit comes from outside the boxes: minus the logarithm of the softmax's share inside.

    Mean over the pictures with a marked fracture; 0 if there is none.
    """
    marked = (cells == FRACTURE).flatten(1)
    values = attention.flatten(1).masked_fill((cells == UNSURE).flatten(1), float("-inf"))
    some = marked.any(1)
    if not some.any():
        return attention.sum() * 0
    values, marked = values[some], marked[some]
    return (values.logsumexp(1) - values.masked_fill(~marked, float("-inf")).logsumexp(1)).mean()


def _matrices(backbone: Backbone) -> list[torch.nn.Parameter]:
    blocks = backbone.blocks.values()
    expansions = [block.expand.weight for block in blocks if block.expand is not None]
    return [*expansions, *(block.project.weight for block in blocks), backbone.top.weight]


def _rate(stage: Stage, step: int, since_entry: int) -> float:
    """Warm up after every entry, also a resumed one: the averages of the optimisers may be those of another size."""
    warm = min(1.0, (since_entry + 1) / _WARM_UP_STEPS)
    fall = 0.5 * (1 + np.cos(np.pi * step / stage.steps)) + 0.01 if stage.decay else 1.0
    return float(stage.rate * warm * fall)


def _write(path: Path, weights: Weights) -> None:
    with h5py.File(path, "w") as file:
        for name, array in weights.items():
            file.create_dataset(name, data=array.astype(np.float32), track_times=False)
