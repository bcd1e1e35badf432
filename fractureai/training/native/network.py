"""EfficientNetB1 in PyTorch, channels last, for training on a CPU; a twin of the Keras network.

The pointwise convolutions are matrix products (oneDNN, AMX where there is any); the rest are this package's kernels.
Residual sums and activations are bf16 on a CPU with AVX-512 BF16 and float32 elsewhere (``activation`` below);
parameters, statistics and heads are always float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own custom

from fractureai.training.native.kernels import stores_bf16
from fractureai.training.native.operations import (
    DepthwiseConv,
    Normalise,
    PointwiseConv,
    SqueezeExcite,
    activation_type,
    batch_statistics,
)

FEATURES = 1280
NORM_MOMENTUM = 0.03
# Kernel, repeats, channels out, expansion, stride of EfficientNetB1's stages (Tan and Le 2019, depth factor 1.1).
STAGES = ((3, 2, 16, 1, 1), (3, 3, 24, 6, 2), (5, 3, 40, 6, 2), (3, 4, 80, 6, 2), (5, 4, 112, 6, 1), (5, 5, 192, 6, 2),
          (3, 2, 320, 6, 1))  # fmt: skip
Weights = dict[str, npt.NDArray[np.float32]]


class Outputs(NamedTuple):
    """Logits of ``fracture`` and ``region`` ``(N, R)``; per cell ``(N, h, w, R)`` logits of the ``dense`` map, and
    ``attention``, whose mean over the cells is the fracture logit less its bias (Grad-CAM times the number of cells).
    """

    fracture: torch.Tensor
    region: torch.Tensor
    dense: torch.Tensor
    attention: torch.Tensor


class BatchNorm(nn.Module):
    """Batch normalisation, with SiLU if ``active``."""

    def __init__(self, channels: int, *, active: bool) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self._active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, H, W, C)`` activation to the same."""
        mean, var = self.mean, self.var
        if self.training:
            mean, var = batch_statistics(x)
            self.mean.lerp_(mean, NORM_MOMENTUM)
            self.var.lerp_(var, NORM_MOMENTUM)
        return Normalise.apply(x, self.gamma, self.beta, mean, var, self._active)


class Pointwise(nn.Module):
    """A 1×1 convolution without bias."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in) * (2.0 / channels_out) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, H, W, C)`` activation to ``(N, H, W, C')``."""
        if stores_bf16():
            return F.linear(x, self.weight.to(x.dtype))  # oneDNN, and AMX where there is any
        return PointwiseConv.apply(x, self.weight)


class Block(nn.Module):
    """Inverted residual with squeeze-and-excitation; dropped as a whole with probability ``drop`` in training."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, expansion: int, stride: int, drop: float
    ) -> None:
        super().__init__()
        inner, reduced = channels_in * expansion, max(1, channels_in // 4)
        self.kernel, self.stride, self.drop = kernel, stride, drop
        self.skip = stride == 1 and channels_in == channels_out
        self.expand = Pointwise(channels_in, inner) if expansion != 1 else None
        self.expand_bn = BatchNorm(inner, active=True) if expansion != 1 else None
        self.depthwise = nn.Parameter(torch.randn(kernel**2, inner) * (2.0 / kernel**2) ** 0.5)
        self.bn = BatchNorm(inner, active=True)
        self.se_reduce, self.se_expand = nn.Linear(inner, reduced), nn.Linear(reduced, inner)
        self.project = Pointwise(inner, channels_out)
        self.project_bn = BatchNorm(channels_out, active=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, H, W, C)`` activation to ``(N, H/stride, W/stride, C')``."""
        y = x if self.expand is None else self.expand_bn(self.expand(x))
        y = self.bn(DepthwiseConv.apply(y, self.depthwise, self.kernel, self.stride))
        y = SqueezeExcite.apply(
            y, self.se_reduce.weight, self.se_reduce.bias, self.se_expand.weight, self.se_expand.bias
        )
        y = self.project_bn(self.project(y))
        if not self.skip:
            return y
        if self.training and self.drop:
            y = y * ((torch.rand(len(y), 1, 1, 1) >= self.drop).to(y.dtype) / (1 - self.drop))
        return y + x


class Backbone(nn.Module):
    """``(N, H, W)`` float32 grey 0..255 (even sides) to ``(N, H/32, W/32, 1280)`` activation."""

    def __init__(self, drop: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Parameter(torch.randn(9, 32) * (2.0 / 9) ** 0.5)
        self.stem_bn = BatchNorm(32, active=True)
        total = sum(stage[1] for stage in STAGES)
        self.blocks = nn.ModuleDict()
        channels = 32
        for number, (kernel, repeats, out, expansion, stride) in enumerate(STAGES, start=1):
            for place in range(repeats):
                share = drop * len(self.blocks) / total
                block = Block(channels, out, kernel, expansion, stride if place == 0 else 1, share)
                self.blocks[f"block{number}{'abcde'[place]}"] = block
                channels = out
        self.top = Pointwise(channels, FEATURES)
        self.top_bn = BatchNorm(FEATURES, active=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """See the class."""
        _, height, width = image.shape
        padded = F.pad(image / 255.0, (0, 1, 0, 1))
        taps = [padded[:, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
        kind = activation_type()
        x = self.stem_bn(torch.stack(taps, -1).to(kind) @ self.stem.to(kind))
        for block in self.blocks.values():
            x = block(x)
        return self.top_bn(self.top(x))


class SharedNetwork(nn.Module):
    """One backbone, three heads for R regions: fracture and region on the pooled features, a dense map on each cell."""

    def __init__(self, regions: int, drop: float = 0.2) -> None:
        super().__init__()
        self.backbone = Backbone(drop)
        self.fracture, self.region, self.dense = (nn.Linear(FEATURES, regions) for _ in range(3))
        for head in (self.fracture, self.region, self.dense):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        # Nearly every cell is without a fracture (Lin 2017, section 3.3).
        nn.init.constant_(self.dense.bias, -4.0)

    def forward(self, image: torch.Tensor) -> Outputs:
        """``(N, H, W)`` float32 grey 0..255, even sides."""
        cells = self.backbone(image).float()
        pooled = F.dropout(cells.mean((1, 2)), 0.2, self.training)
        attention = F.linear(cells, self.fracture.weight)
        return Outputs(self.fracture(pooled), self.region(pooled), self.dense(cells), attention)


def keras_weights(network: SharedNetwork, head: str, outputs: slice) -> Weights:
    """Weights by the names of :func:`fractureai.training.network.stored_variables`, with one of the heads.

    Parameters
    ----------
    head:
        ``fracture`` or ``region``.
    outputs:
        Which of the head's logits to take.
    """
    return dict(_named(network, head, outputs))


def _named(network: SharedNetwork, head: str, outputs: slice) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    base = network.backbone
    # Keras repeats the grey channel three times, so each kernel carries a third.
    stem = _array(base.stem).reshape(3, 3, 1, 32)
    yield "stem_conv/kernel", np.repeat(stem / 3, 3, axis=2)
    yield from _norm("stem_bn", base.stem_bn)
    for name, block in base.blocks.items():
        if block.expand is not None:
            yield f"{name}_expand_conv/kernel", _array(block.expand.weight).T[None, None]
            yield from _norm(f"{name}_expand_bn", block.expand_bn)
        yield f"{name}_dwconv/kernel", _array(block.depthwise).reshape(block.kernel, block.kernel, -1, 1)
        yield from _norm(f"{name}_bn", block.bn)
        for part, layer in (("se_reduce", block.se_reduce), ("se_expand", block.se_expand)):
            yield f"{name}_{part}/kernel", _array(layer.weight).T[None, None]
            yield f"{name}_{part}/bias", _array(layer.bias)
        yield f"{name}_project_conv/kernel", _array(block.project.weight).T[None, None]
        yield from _norm(f"{name}_project_bn", block.project_bn)
    yield "top_conv/kernel", _array(base.top.weight).T[None, None]
    yield from _norm("top_bn", base.top_bn)
    dense = getattr(network, head)
    yield "head/kernel", _array(dense.weight)[outputs].T
    yield "head/bias", _array(dense.bias)[outputs]


def _norm(name: str, layer: BatchNorm) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    yield f"{name}/gamma", _array(layer.gamma)
    yield f"{name}/beta", _array(layer.beta)
    yield f"{name}/moving_mean", _array(layer.mean)
    yield f"{name}/moving_variance", _array(layer.var)


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().numpy().astype(np.float32)
