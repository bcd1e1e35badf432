"""The operations of the network, differentiable: by this package's kernels on a CPU that can, else by plain PyTorch.

All tensors are ``(N, H, W, C)``, contiguous, of :func:`activation_type`: bf16 or float32, as the machine has it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import Function
from torch.nn import functional as F  # noqa: N812 - PyTorch's own custom

from fractureai.training.native.kernels import available, library, stores_bf16

EPSILON = 1e-3


def by_kernels(x: torch.Tensor) -> bool:
    """Whether the kernels work on this tensor; else PyTorch's own operations do (a GPU, a CPU without AVX2)."""
    return not x.is_cuda and available()


def activation_type(device: torch.device | None = None) -> torch.dtype:
    """Of every tensor between the layers."""
    if device is not None and device.type == "cuda":
        return torch.bfloat16
    return torch.bfloat16 if available() and stores_bf16() else torch.float32


def depthwise(x: torch.Tensor, weight: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Depthwise convolution with ``(kernel², C)`` float32 weights, padded like Keras's network."""
    if by_kernels(x):
        return DepthwiseConv.apply(x, weight, kernel, stride)
    channels = x.shape[-1]
    (top, _), (left, _) = (_padding(side, kernel, stride) for side in x.shape[1:3])
    padded = F.pad(x.permute(0, 3, 1, 2), (left, kernel // 2, top, kernel // 2))
    kernels = weight.t().reshape(channels, 1, kernel, kernel).to(x.dtype)
    return F.conv2d(padded, kernels, stride=stride, groups=channels).permute(0, 2, 3, 1).contiguous()


def pointwise(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A 1×1 convolution with ``(C', C)`` float32 weights."""
    if by_kernels(x) and x.dtype == torch.float32:
        return PointwiseConv.apply(x, weight)
    return F.linear(x, weight.to(x.dtype))  # cuBLAS, or oneDNN with AMX where there is any


def normalise(
    x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, *, active: bool
) -> torch.Tensor:
    """Batch normalisation with given statistics, with SiLU if ``active``.

    The backward pass takes the statistics for the batch's own (Ioffe and Szegedy 2015).
    """
    if by_kernels(x):
        return Normalise.apply(x, gamma, beta, mean, var, active)
    factor = gamma * torch.rsqrt(var + EPSILON)
    y = (x.float() * factor + (beta - mean * factor)).to(x.dtype)
    return F.silu(y) if active else y


def batch_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance of each channel, ``(C,)`` float32; with a gradient where PyTorch works them out."""
    if not by_kernels(x):
        rows = x.float().flatten(0, 2)
        return rows.mean(0), rows.var(0, correction=0)
    channels = x.shape[-1]
    mean, var = torch.empty(channels), torch.empty(channels)
    library().norm_statistics(_at(x), x.numel() // channels, channels, _at(mean), _at(var))
    return mean, var


def squeeze_excite(x: torch.Tensor, reduce: torch.nn.Linear, expand: torch.nn.Linear) -> torch.Tensor:
    """Channels weighted by a small network of their means (Hu 2018)."""
    if by_kernels(x):
        return SqueezeExcite.apply(x, reduce.weight, reduce.bias, expand.weight, expand.bias)
    scale = torch.sigmoid(expand(F.silu(reduce(x.float().mean((1, 2))))))
    return x * scale[:, None, None].to(x.dtype)


class DepthwiseConv(Function):
    """See :func:`depthwise`; at stride 2 the padding is one cell less before than after."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
        """``weight``: ``(kernel², C)`` float32."""
        count, height, width, channels = x.shape
        top, height_out = _padding(height, kernel, stride)
        left, width_out = _padding(width, kernel, stride)
        ctx.shape = (count, height, width, channels, height_out, width_out, top, left, kernel, stride)
        y = torch.empty(count, height_out, width_out, channels, dtype=x.dtype)
        library().depthwise_forward(_at(x), _at(weight), _at(y), *ctx.shape)
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of ``x`` and ``weight``."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x, of_weight = torch.empty_like(x), torch.empty_like(weight)
        library().depthwise_of_input(_at(gradient), _at(weight), _at(of_x), *ctx.shape)
        library().depthwise_of_weight(_at(x), _at(gradient), _at(of_weight), *ctx.shape)
        return of_x, of_weight, None, None


class Normalise(Function):
    """See :func:`normalise`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        mean: torch.Tensor,
        var: torch.Tensor,
        active: bool,
    ) -> torch.Tensor:
        """``gamma beta mean var``: ``(C,)`` float32."""
        channels = x.shape[-1]
        deviation = torch.rsqrt(var + EPSILON)
        factor = gamma * deviation
        shift = beta - mean * factor
        y = torch.empty_like(x)
        library().norm_apply(_at(x), _at(y), x.numel() // channels, channels, _at(factor), _at(shift), int(active))
        ctx.save_for_backward(x, mean, deviation, factor, shift)
        ctx.active = int(active)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of ``x``, ``gamma`` and ``beta``."""
        x, mean, deviation, factor, shift = ctx.saved_tensors
        gradient = gradient.contiguous()
        channels = x.shape[-1]
        rows = x.numel() // channels
        sums = torch.empty(2, channels)
        of_x = torch.empty_like(x)
        before = of_x if ctx.active else gradient
        library().norm_backward_sums(
            _at(x), _at(gradient), _at(before), rows, channels, _at(factor), _at(shift), ctx.active, _at(sums)
        )
        of_beta = sums[0]
        of_gamma = (sums[1] - mean * of_beta) * deviation
        slope = -(factor * deviation * of_gamma / rows)
        offset = -(factor * of_beta / rows) - slope * mean
        library().norm_backward_input(
            _at(x), _at(before), _at(of_x), rows, channels, _at(factor), _at(slope), _at(offset)
        )
        return of_x, of_gamma, of_beta, None, None, None


class PointwiseConv(Function):
    """See :func:`pointwise`; float32 only."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Channels are multiples of 8."""
        ctx.save_for_backward(x, weight)
        out, channels = weight.shape
        y = torch.empty(*x.shape[:-1], out)
        library().matrix_forward(_at(x), _at(weight), _at(y), x.numel() // channels, channels, out)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of ``x`` and ``weight``."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        out, channels = weight.shape
        rows = x.numel() // channels
        of_x, of_weight = torch.empty_like(x), torch.empty_like(weight)
        library().matrix_of_input(_at(gradient), _at(weight), _at(of_x), rows, channels, out)
        library().matrix_of_weight(_at(x), _at(gradient), _at(of_weight), rows, channels, out)
        return of_x, of_weight


class SqueezeExcite(Function):
    """See :func:`squeeze_excite`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight1: torch.Tensor,
        bias1: torch.Tensor,
        weight2: torch.Tensor,
        bias2: torch.Tensor,
    ) -> torch.Tensor:
        """``weight1``: ``(r, C)``; ``weight2``: ``(C, r)``; float32."""
        count, height, width, channels = x.shape
        cells = height * width
        means = torch.empty(count, channels)
        library().excite_mean(_at(x), _at(means), count, cells, channels, 1.0 / cells)
        with torch.enable_grad():
            leaves = [part.detach().requires_grad_() for part in (means, weight1, bias1, weight2, bias2)]
            scale = torch.sigmoid(F.linear(F.silu(F.linear(*leaves[:3])), *leaves[3:]))
        y = torch.empty_like(x)
        library().excite_scale(_at(x), _at(scale), _at(y), count, cells, channels)
        ctx.save_for_backward(x)
        ctx.small = (leaves, scale)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Gradients of ``x`` and of the small network."""
        (x,) = ctx.saved_tensors
        leaves, scale = ctx.small
        ctx.small = None
        gradient = gradient.contiguous()
        count, height, width, channels = x.shape
        cells = height * width
        of_scale = torch.empty(count, channels)
        library().excite_of_scale(_at(x), _at(gradient), _at(of_scale), count, cells, channels)
        of_means, *of_weights = torch.autograd.grad(scale, leaves, of_scale)
        spread = of_means / cells
        of_x = torch.empty_like(x)
        library().excite_of_input(_at(gradient), _at(scale), _at(spread), _at(of_x), count, cells, channels)
        return of_x, *of_weights


def _padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Cells added before, and cells that come out."""
    if stride == 1:
        return kernel // 2, side
    before = kernel // 2 - (1 - side % 2)
    return before, (side + before + kernel // 2 - kernel) // 2 + 1


def _at(tensor: torch.Tensor) -> int:
    return tensor.data_ptr()
