"""Train one network on all regions at once: the region, each region's fracture, and where fractures are.

Runs on a CPU, fast where this package's kernels do, and on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fractureai.training.batches import BalancedSource, Batch
from fractureai.training.initial import InitialWeights
from fractureai.training.native.kernels import keep_memory
from fractureai.training.native.losses import SHARES, losses
from fractureai.training.native.measure import measure
from fractureai.training.native.network import SharedNetwork
from fractureai.training.native.weights import start_from, write_weights
from fractureai.training.runs import WEIGHTS, RunFolder
from fractureai.training.schedule import Stage

CHECKPOINT = "checkpoint.pt"
# A fracture fills about one cell in a hundred, and the mean over cells dilutes it as much: its head has far to go.
_HEAD_GAIN = 4.0
_WEIGHT_DECAY = 0.02
_CLIP = 5.0
_WARM_UP_STEPS = 40
_LOG_EVERY, _LOOK_EVERY = 50, 300


def train_shared(
    source: BalancedSource,
    outputs: Sequence[str],
    stages: Sequence[Stage],
    run: RunFolder,
    held_out: Batch | None = None,
    seed: int = 0,
    initial: InitialWeights | None = None,
) -> SharedNetwork:
    """Run the stages, or what is left of them, and write the averaged network's weights into the run folder.

    Parameters
    ----------
    outputs:
        What each logit means: R regions, then their R fractures.
    held_out:
        Only looked at: its measures go into the log.
    initial:
        Where a new training starts; ``None`` is from scratch.
    """
    torch.manual_seed(seed)
    # Values too small to matter take a CPU a hundred times longer.
    torch.set_flush_denormal(True)
    keep_memory()
    trainer = _Trainer(len(outputs) // 2, held_out)
    if not trainer.resume(run.path / CHECKPOINT) and initial is not None:
        start_from(trainer.network, initial, outputs)
        trainer.average.load_state_dict(trainer.network.state_dict())
    first = 0
    for stage in stages:
        begin, first = first, first + stage.steps
        if trainer.step < first:
            trainer.run_stage(stage, begin, source, run)
    write_weights(trainer.average, run.path / WEIGHTS)
    return trainer.average.eval()


class _Trainer:
    def __init__(self, regions: int, held_out: Batch | None) -> None:
        self._held_out = held_out
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network, self.average = SharedNetwork(regions).to(device), SharedNetwork(regions).to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.step = 0
        head = self.network.head.weight
        others = [weight for weight in self.network.parameters() if weight is not head]
        groups = [
            {"params": [weight for weight in others if weight.ndim > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [weight for weight in others if weight.ndim <= 1], "weight_decay": 0.0},
            {"params": [head], "weight_decay": _WEIGHT_DECAY, "gain": _HEAD_GAIN},
        ]
        self._adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)

    def run_stage(self, stage: Stage, begin: int, source: BalancedSource, run: RunFolder) -> None:
        """Train to the stage's end, with a checkpoint and a line of the log every fifty steps."""
        entered, started, seen = self.step, time.monotonic(), []
        self.network.backbone.frozen_stages = stage.frozen_stages
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(source.batch, self.step, stage.batch_size, stage.recipe)
            while self.step < begin + stage.steps:
                batch = coming.result()
                coming = ahead.submit(source.batch, self.step + 1, stage.batch_size, stage.recipe)
                seen.append(self._learn(batch, _rate(stage, self.step - begin, self.step - entered), stage.average))
                self.step += 1
                if self.step % _LOG_EVERY == 0 or self.step == begin + stage.steps:
                    self._save(run.path / CHECKPOINT)
                    speed = stage.batch_size * len(seen) / (time.monotonic() - started)
                    means = {f"loss_{name}": round(float(np.mean([each[name] for each in seen])), 4) for name in SHARES}
                    run.log({"step": self.step, **means, "images_per_s": round(speed, 1), **self._look()})
                    started, seen = time.monotonic(), []

    def _look(self) -> dict[str, float | str]:
        if self._held_out is None:
            return {}
        if self.step % _LOOK_EVERY:
            return dict.fromkeys(("val_auc", "val_auc_map", "val_region_accuracy"), "")
        return measure(self.average, self._held_out)

    def _learn(self, batch: Batch, rate: float, average: float) -> dict[str, float]:
        for group in self._adam.param_groups:
            group["lr"] = rate * group.get("gain", 1.0)
        self.network.train()
        parts = losses(self.network, batch)
        torch.stack([share * parts[name] for name, share in SHARES.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self._adam.step()
        self._adam.zero_grad()
        with torch.no_grad():
            share = 1 - min(average, (self.step + 1) / (self.step + 10))
            torch._foreach_lerp_(
                list(self.average.state_dict().values()), list(self.network.state_dict().values()), share
            )
        return {name: float(part.detach()) for name, part in parts.items()}

    def resume(self, path: Path) -> bool:
        """Load a checkpoint if there is one, and say whether there was."""
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._adam.load_state_dict(state["adam"])
        self.step = state["step"]
        return True

    def _save(self, path: Path) -> None:
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "adam": self._adam.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)


def _rate(stage: Stage, step: int, since_entry: int) -> float:
    """Warm up after every entry, also a resumed one: the averages of the optimiser may be those of another size."""
    warm = min(1.0, (since_entry + 1) / _WARM_UP_STEPS)
    fall = 0.5 * (1 + np.cos(np.pi * step / stage.steps)) * 0.99 + 0.01 if stage.decay else 1.0
    return float(stage.rate * warm * fall)
