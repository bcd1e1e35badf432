"""EfficientNetB1 with a localisation head in PyTorch, channels last; a twin of the Keras network.

Residual sums and activations are bf16 on a GPU and on a CPU with AVX-512 BF16, and float32 elsewhere
(``activation_type``); parameters, statistics and heads are always float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own custom

from fractureai.training.architecture import FEATURES, LOCAL_CHANNELS, LOG_SIDES_LIMITS
from fractureai.training.native.operations import (
    activation_type,
    batch_statistics,
    depthwise,
    normalise,
    pointwise,
    squeeze_excite,
)

NORM_MOMENTUM = 0.03
# Kernel, repeats, channels out, expansion, stride of EfficientNetB1's stages (Tan and Le 2019, depth factor 1.1).
STAGES = ((3, 2, 16, 1, 1), (3, 3, 24, 6, 2), (5, 3, 40, 6, 2), (3, 4, 80, 6, 2), (5, 4, 112, 6, 1), (5, 5, 192, 6, 2),
          (3, 2, 320, 6, 1))  # fmt: skip
_MIDDLE_STAGE = 5
# The logarithm of half a usual fracture's side in px: 15.
_USUAL_LOG_SIDE = 2.7
Weights = dict[str, npt.NDArray[np.float32]]


class Outputs(NamedTuple):
    """What the network says of N pictures, for R regions.

    ``logits`` ``(N, 2R)``: the regions, then their fractures. ``cells`` ``(N, h, w, R)`` and ``sides`` ``(N, h, w,
    4)``: the localisation head, at a stride of 16 px.
    """

    logits: torch.Tensor
    cells: torch.Tensor
    sides: torch.Tensor


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
            self.mean.lerp_(mean.detach(), NORM_MOMENTUM)
            self.var.lerp_(var.detach(), NORM_MOMENTUM)
        return normalise(x, self.gamma, self.beta, mean, var, active=self._active)


class Pointwise(nn.Module):
    """A 1×1 convolution without bias."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in) * (2.0 / channels_out) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, H, W, C)`` activation to ``(N, H, W, C')``."""
        return pointwise(x, self.weight)


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
        y = self.bn(depthwise(y, self.depthwise, self.kernel, self.stride))
        y = squeeze_excite(y, self.se_reduce, self.se_expand)
        y = self.project_bn(self.project(y))
        if not self.skip:
            return y
        if self.training and self.drop:
            kept = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * (kept.to(y.dtype) / (1 - self.drop))
        return y + x


class Backbone(nn.Module):
    """``(N, H, W)`` float32 grey 0..255 (even sides) to ``(N, H/16, W/16, 112)`` and ``(N, H/32, W/32, 1280)``
    activations.

    Parameters
    ----------
    frozen_stages:
        The stem and the stages up to this one are not trained: they keep their weights and statistics.
    """

    def __init__(self, drop: float = 0.2, frozen_stages: int = 0) -> None:
        super().__init__()
        self.frozen_stages = frozen_stages
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

    def train(self, mode: bool = True) -> Backbone:
        """Training mode for all but the frozen stages."""
        super().train(mode)
        if mode and self.frozen_stages:
            self.stem_bn.eval()
            for name in self._stages(self.frozen_stages):
                self.blocks[name].eval()
        return self

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        frozen = self._stages(self.frozen_stages) if self.frozen_stages else []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_stages):
            x = self._stem(image)
            for name in frozen:
                x = self.blocks[name](x)
        middle = x
        for name in list(self.blocks)[len(frozen) :]:
            x = self.blocks[name](x)
            if _stage_of(name) == _MIDDLE_STAGE:
                middle = x
        return middle, self.top_bn(self.top(x))

    def _stem(self, image: torch.Tensor) -> torch.Tensor:
        _, height, width = image.shape
        padded = F.pad(image / 255.0, (0, 1, 0, 1))
        taps = [padded[:, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
        kind = activation_type(image.device)
        return self.stem_bn(torch.stack(taps, -1).to(kind) @ self.stem.to(kind))

    def _stages(self, last: int) -> list[str]:
        return [name for name in self.blocks if _stage_of(name) <= last]


class LocalisationHead(nn.Module):
    """Where fractures are, from the last feature map and that of the fifth stage."""

    def __init__(self, regions: int) -> None:
        super().__init__()
        self.top, self.middle = Pointwise(FEATURES, LOCAL_CHANNELS), Pointwise(STAGES[4][2], LOCAL_CHANNELS)
        self.sum_bn = BatchNorm(LOCAL_CHANNELS, active=True)
        self.depthwise = nn.Parameter(torch.randn(9, LOCAL_CHANNELS) * (2.0 / 9) ** 0.5)
        self.dw_bn = BatchNorm(LOCAL_CHANNELS, active=True)
        self.conv = Pointwise(LOCAL_CHANNELS, LOCAL_CHANNELS)
        self.bn = BatchNorm(LOCAL_CHANNELS, active=True)
        self.cells, self.log_sides = nn.Linear(LOCAL_CHANNELS, regions), nn.Linear(LOCAL_CHANNELS, 4)
        # Nearly every cell is without a fracture (Lin 2017, section 3.3).
        for layer, bias in ((self.cells, -4.0), (self.log_sides, _USUAL_LOG_SIDE)):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)

    def forward(self, middle: torch.Tensor, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps of the backbone to ``cells`` ``(N, h, w, R)`` logits and ``sides`` ``(N, h, w, 4)`` px, float32."""
        enlarged = self.top(last).repeat_interleave(2, 1).repeat_interleave(2, 2)
        found = self.sum_bn((enlarged + self.middle(middle)).contiguous())
        found = self.dw_bn(depthwise(found, self.depthwise, 3, 1))
        found = self.bn(self.conv(found)).float()
        return self.cells(found), torch.exp(self.log_sides(found).clamp(*LOG_SIDES_LIMITS))


class SharedNetwork(nn.Module):
    """One backbone for R regions: logits of the region and of each region's fracture, and the localisation head."""

    def __init__(self, regions: int, drop: float = 0.2) -> None:
        super().__init__()
        self.backbone = Backbone(drop)
        self.head = nn.Linear(FEATURES, 2 * regions)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.local = LocalisationHead(regions)

    def forward(self, image: torch.Tensor) -> Outputs:
        """``(N, H, W)`` float32 grey 0..255, even sides."""
        middle, last = self.backbone(image)
        pooled = F.dropout(last.float().mean((1, 2)), 0.2, self.training)
        return Outputs(self.head(pooled), *self.local(middle, last))


def keras_weights(network: SharedNetwork) -> Weights:
    """Weights by the names of :func:`fractureai.training.network.stored_variables`."""
    return dict(_named(network))


def _stage_of(block: str) -> int:
    return int(block.removeprefix("block")[0])


def _named(network: SharedNetwork) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    base, local = network.backbone, network.local
    # Keras repeats the grey channel three times, so each kernel carries a third.
    stem = _array(base.stem).reshape(3, 3, 1, 32)
    yield "stem_conv/kernel", np.repeat(stem / 3, 3, axis=2)
    yield from _norm("stem_bn", base.stem_bn)
    for name, block in base.blocks.items():
        if block.expand is not None:
            yield f"{name}_expand_conv/kernel", _matrix(block.expand.weight)
            yield from _norm(f"{name}_expand_bn", block.expand_bn)
        yield f"{name}_dwconv/kernel", _array(block.depthwise).reshape(block.kernel, block.kernel, -1, 1)
        yield from _norm(f"{name}_bn", block.bn)
        for part, layer in (("se_reduce", block.se_reduce), ("se_expand", block.se_expand)):
            yield from _convolution(f"{name}_{part}", layer)
        yield f"{name}_project_conv/kernel", _matrix(block.project.weight)
        yield from _norm(f"{name}_project_bn", block.project_bn)
    yield "top_conv/kernel", _matrix(base.top.weight)
    yield from _norm("top_bn", base.top_bn)
    yield "local_top/kernel", _matrix(local.top.weight)
    yield "local_middle/kernel", _matrix(local.middle.weight)
    yield from _norm("local_sum_bn", local.sum_bn)
    yield "local_dwconv/kernel", _array(local.depthwise).reshape(3, 3, -1, 1)
    yield from _norm("local_dw_bn", local.dw_bn)
    yield "local_conv/kernel", _matrix(local.conv.weight)
    yield from _norm("local_bn", local.bn)
    yield from _convolution("cells", local.cells)
    yield from _convolution("log_sides", local.log_sides)
    yield "head/kernel", _array(network.head.weight).T
    yield "head/bias", _array(network.head.bias)


def _convolution(name: str, layer: nn.Linear) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    yield f"{name}/kernel", _matrix(layer.weight)
    yield f"{name}/bias", _array(layer.bias)


def _norm(name: str, layer: BatchNorm) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    yield f"{name}/gamma", _array(layer.gamma)
    yield f"{name}/beta", _array(layer.beta)
    yield f"{name}/moving_mean", _array(layer.mean)
    yield f"{name}/moving_variance", _array(layer.var)


def _matrix(weight: torch.Tensor) -> npt.NDArray[np.float32]:
    return _array(weight).T[None, None]


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().cpu().numpy().astype(np.float32)
