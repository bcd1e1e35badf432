"""Start the native network from weights of the Keras twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from fractureai.training.initial import InitialWeights, Logit
from fractureai.training.native.network import Backbone, BatchNorm, SharedNetwork


def start_from(network: SharedNetwork, initial: InitialWeights, regions: Sequence[str]) -> None:
    """Overwrite what is known: the backbone, the region head, each region's fracture logit.

    The dense map's head, and the heads of regions that are not known, stay as they are.

    Raises
    ------
    BrokenDeployment
        If a weight is missing or of another shape.
    """
    load_backbone(network.backbone, initial)
    for head, logits in ((network.region, initial.region), (network.fracture, initial.fracture)):
        _load_head(head, logits, regions)


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
            _load_matrix(layer.weight, initial, f"{name}_{part}/kernel")
            _load_vector(layer.bias, initial, f"{name}_{part}/bias")
        _load_matrix(block.project.weight, initial, f"{name}_project_conv/kernel")
        _load_norm(block.project_bn, initial, f"{name}_project_bn")
    _load_matrix(base.top.weight, initial, "top_conv/kernel")
    _load_norm(base.top_bn, initial, "top_bn")


def _load_matrix(target: torch.Tensor, initial: InitialWeights, name: str) -> None:
    """A 1×1 convolution, ``(1, 1, in, out)`` in the file."""
    kernel = initial.get(name, (1, 1, *reversed(target.shape)))
    target.copy_(torch.from_numpy(np.ascontiguousarray(kernel[0, 0].T)))


def _load_vector(target: torch.Tensor, initial: InitialWeights, name: str) -> None:
    target.copy_(torch.from_numpy(initial.get(name, tuple(target.shape))))


def _load_norm(layer: BatchNorm, initial: InitialWeights, name: str) -> None:
    pairs = (("gamma", layer.gamma), ("beta", layer.beta), ("moving_mean", layer.mean), ("moving_variance", layer.var))
    for part, target in pairs:
        _load_vector(target, initial, f"{name}/{part}")


@torch.no_grad()
def _load_head(head: nn.Linear, logits: Mapping[str, Logit], regions: Sequence[str]) -> None:
    for name, logit in logits.items():
        head.weight[regions.index(name)] = torch.from_numpy(logit.weights)
        head.bias[regions.index(name)] = logit.bias
