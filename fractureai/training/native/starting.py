"""Start the shared training from weights there are already: fine-tuning, or a longer training of what is shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from fractureai.errors import BrokenDeployment
from fractureai.training.native.network import Backbone, BatchNorm, SharedNetwork, Weights

_BACKBONE_NAME = "top_conv/kernel"


def start_from(network: SharedNetwork, source: Path, regions: Sequence[str]) -> None:
    """Overwrite what ``source`` knows of: the backbone, the region head, each region's fracture logit.

    The dense map's head, and the heads of regions that ``source`` does not know, stay as they are.

    Parameters
    ----------
    source:
        A folder of packaged models (``region/weights.h5``, ``fracture-<region>/weights.h5``), a run folder of the
        shared training (``region.h5``, ``fracture-<region>.h5``), or one weights file, of which only the backbone is
        taken.

    Raises
    ------
    BrokenDeployment
        If weights are missing or of another shape, or if the models do not share one backbone: a head means nothing on
        another's features.
    """
    if source.is_file():
        load_backbone(network.backbone, _read(source))
        return
    place = _place(source, "region")
    if place is None:
        raise BrokenDeployment(f"{source} holds neither region/weights.h5 nor region.h5 to start from")
    stored = _read(place)
    load_backbone(network.backbone, stored)
    classes = _classes(place, regions)
    for column, name in enumerate(classes):
        if name in regions:
            _load_logit(network.region, regions.index(name), stored, column)
    for number, name in enumerate(regions):
        own = _place(source, f"fracture-{name}")
        if own is None:
            continue
        found = _read(own)
        if not np.allclose(found[_BACKBONE_NAME], stored[_BACKBONE_NAME], atol=1e-3):
            raise BrokenDeployment(f"{own} and {place} do not share one backbone; start from one file instead")
        _load_logit(network.fracture, number, found, 0)


def load_backbone(base: Backbone, stored: Mapping[str, np.ndarray]) -> None:
    """Take over every weight but the head's, by the names of :func:`fractureai.training.network.stored_variables`."""
    # Keras repeats the grey channel three times: the kernels of the three add up.
    _set(base.stem, _get(stored, "stem_conv/kernel").sum(2).reshape(9, -1), "stem_conv/kernel")
    _set_norm(base.stem_bn, stored, "stem_bn")
    for name, block in base.blocks.items():
        if block.expand is not None:
            _set_matrix(block.expand.weight, stored, f"{name}_expand_conv/kernel")
            _set_norm(block.expand_bn, stored, f"{name}_expand_bn")
        depthwise = _get(stored, f"{name}_dwconv/kernel")
        _set(block.depthwise, depthwise.reshape(block.kernel**2, -1), f"{name}_dwconv/kernel")
        _set_norm(block.bn, stored, f"{name}_bn")
        for part, layer in (("se_reduce", block.se_reduce), ("se_expand", block.se_expand)):
            _set_matrix(layer.weight, stored, f"{name}_{part}/kernel")
            _set(layer.bias, _get(stored, f"{name}_{part}/bias"), f"{name}_{part}/bias")
        _set_matrix(block.project.weight, stored, f"{name}_project_conv/kernel")
        _set_norm(block.project_bn, stored, f"{name}_project_bn")
    _set_matrix(base.top.weight, stored, _BACKBONE_NAME)
    _set_norm(base.top_bn, stored, "top_bn")


def _place(folder: Path, name: str) -> Path | None:
    for path in (folder / name / "weights.h5", folder / f"{name}.h5"):
        if path.is_file():
            return path
    return None


def _classes(place: Path, regions: Sequence[str]) -> Sequence[str]:
    """Names of the region head's logits: a packaged model's card says; a run folder's are those of its data."""
    card = place.with_name("card.json")
    if place.name != "weights.h5" or not card.is_file():
        return regions
    return tuple(json.loads(card.read_text(encoding="utf-8"))["classes"])


def _read(path: Path) -> Weights:
    found: Weights = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item, np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except OSError as error:
        raise BrokenDeployment(f"{path} cannot be read as a weights file ({error})") from error
    return found


def _get(stored: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in stored:
        raise BrokenDeployment(f"the weights to start from have no {name}; are they of an EfficientNetB1 made here?")
    return stored[name]


@torch.no_grad()
def _set(target: torch.Tensor, values: np.ndarray, name: str) -> None:
    if tuple(target.shape) != values.shape:
        raise BrokenDeployment(f"{name} to start from is {values.shape}, the network needs {tuple(target.shape)}")
    target.copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)))


def _set_matrix(target: torch.Tensor, stored: Mapping[str, np.ndarray], name: str) -> None:
    """A 1×1 convolution, ``(1, 1, in, out)`` in the file."""
    _set(target, _get(stored, name)[0, 0].T, name)


def _set_norm(layer: BatchNorm, stored: Mapping[str, np.ndarray], name: str) -> None:
    pairs = (("gamma", layer.gamma), ("beta", layer.beta), ("moving_mean", layer.mean), ("moving_variance", layer.var))
    for part, target in pairs:
        _set(target, _get(stored, f"{name}/{part}"), f"{name}/{part}")


def _load_logit(head: nn.Linear, number: int, stored: Mapping[str, np.ndarray], column: int) -> None:
    own, wanted = slice(number, number + 1), slice(column, column + 1)
    _set(head.weight[own], _get(stored, "head/kernel")[:, wanted].T, "head/kernel")
    _set(head.bias[own], _get(stored, "head/bias")[wanted], "head/bias")
