"""Carry weights between the PyTorch network and files of the Keras twin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from fractureai.training.initial import InitialWeights
from fractureai.training.native.network import Backbone, BatchNorm, LocalisationHead, SharedNetwork, keras_weights


def write_weights(network: SharedNetwork, path: Path) -> None:
    """Write every weight by the names of :func:`fractureai.training.network.stored_variables`, float32."""
    with h5py.File(path, "w") as file:
        for name, array in keras_weights(network).items():
            file.create_dataset(name, data=array.astype(np.float32), track_times=False)


@torch.no_grad()
def start_from(network: SharedNetwork, initial: InitialWeights, outputs: Sequence[str]) -> None:
    """Overwrite what is known: the backbone; logits of the same name; the localisation head if its channels agree.

    Parameters
    ----------
    outputs:
        What each logit of the network means.

    Raises
    ------
    BrokenDeployment
        If a weight of the backbone is missing or of another shape.
    """
    load_backbone(network.backbone, initial)
    kernel, bias = initial.head
    for column, name in enumerate(initial.outputs):
        if name in outputs:
            network.head.weight[outputs.index(name)] = torch.from_numpy(kernel[:, column])
            network.head.bias[outputs.index(name)] = float(bias[column])
    if initial.outputs == tuple(outputs) and "local_top/kernel" in initial.arrays:
        _load_local(network.local, initial)


@torch.no_grad()
def load_backbone(base: Backbone, initial: InitialWeights) -> None:
    """Take over every weight but the heads'."""
    # Keras repeats the grey channel three times: the kernels of the three add up.
    stem = initial.get("stem_conv/kernel", (3, 3, 3, base.stem.shape[1])).sum(2)
    base.stem.copy_(torch.from_numpy(stem.reshape(9, -1)))
    _load_norm(base.stem_bn, initial, "stem_bn")
    for name, block in base.blocks.items():
        if block.expand is not None:
            _load_matrix(block.expand.weight, initial, f"{name}_expand_conv/kernel")
            _load_norm(block.expand_bn, initial, f"{name}_expand_bn")
        channels = block.depthwise.shape[1]
        depthwise = initial.get(f"{name}_dwconv/kernel", (block.kernel, block.kernel, channels, 1))
        block.depthwise.copy_(torch.from_numpy(depthwise.reshape(-1, channels)))
        _load_norm(block.bn, initial, f"{name}_bn")
        for part, layer in (("se_reduce", block.se_reduce), ("se_expand", block.se_expand)):
            _load_layer(layer, initial, f"{name}_{part}")
        _load_matrix(block.project.weight, initial, f"{name}_project_conv/kernel")
        _load_norm(block.project_bn, initial, f"{name}_project_bn")
    _load_matrix(base.top.weight, initial, "top_conv/kernel")
    _load_norm(base.top_bn, initial, "top_bn")


def _load_local(local: LocalisationHead, initial: InitialWeights) -> None:
    _load_matrix(local.top.weight, initial, "local_top/kernel")
    _load_matrix(local.middle.weight, initial, "local_middle/kernel")
    _load_norm(local.sum_bn, initial, "local_sum_bn")
    channels = local.depthwise.shape[1]
    depthwise = initial.get("local_dwconv/kernel", (3, 3, channels, 1))
    local.depthwise.copy_(torch.from_numpy(depthwise.reshape(-1, channels)))
    _load_norm(local.dw_bn, initial, "local_dw_bn")
    _load_matrix(local.conv.weight, initial, "local_conv/kernel")
    _load_norm(local.bn, initial, "local_bn")
    _load_layer(local.cells, initial, "cells")
    _load_layer(local.log_sides, initial, "log_sides")


def _load_matrix(target: torch.Tensor, initial: InitialWeights, name: str) -> None:
    """A 1×1 convolution, ``(1, 1, in, out)`` in the file."""
    kernel = initial.get(name, (1, 1, *reversed(target.shape)))
    target.copy_(torch.from_numpy(np.ascontiguousarray(kernel[0, 0].T)))


def _load_layer(layer: nn.Linear, initial: InitialWeights, name: str) -> None:
    _load_matrix(layer.weight, initial, f"{name}/kernel")
    _load_vector(layer.bias, initial, f"{name}/bias")


def _load_vector(target: torch.Tensor, initial: InitialWeights, name: str) -> None:
    target.copy_(torch.from_numpy(initial.get(name, tuple(target.shape))))


def _load_norm(layer: BatchNorm, initial: InitialWeights, name: str) -> None:
    pairs = (("gamma", layer.gamma), ("beta", layer.beta), ("moving_mean", layer.mean), ("moving_variance", layer.var))
    for part, target in pairs:
        _load_vector(target, initial, f"{name}/{part}")
