"""The one network shape: EfficientNetB1, global average pooling, one dense layer; and, where wanted, a localisation
head.

Because nothing stands between the last feature map and a logit but a mean and a dense layer, Grad-CAM (Selvaraju
2017) has a closed form (Zhou 2016): the gradient of logit ``c`` with respect to ``A_k`` is ``w_kc / (h·w)`` everywhere,
so the map is ``sum_k w_kc / (h·w) · A_k``. :func:`explained` puts it into the graph as an output.

The localisation head reads the last feature map, twice enlarged, and that of the fifth stage, which has its resolution
(a feature pyramid, Lin 2017). It says for each cell how likely the middle of a fracture is within it, and how far that
fracture reaches (FCOS, Tian 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt

from fractureai.training.architecture import (
    CELLS,
    HEAD,
    LOCAL_CHANNELS,
    LOG_SIDES_LIMITS,
    SIDES,
    STRIDE_PX,
    NetworkSpec,
)

LAST_MAP, MIDDLE_MAP = "top_activation", "block5d_add"
_OF_HEADS = (f"{HEAD}/", f"{CELLS}/", "log_sides/", "local_")


def backbone(height_px: int | None = None, width_px: int | None = None) -> keras.Model:
    """EfficientNetB1 (Tan and Le 2019) on grey images, without its head and with random weights.

    Returns
    -------
    Model from ``image`` ``(N, H, W, 1)`` float32, grey 0..255, to the last feature map ``(N, H/32, W/32, 1280)``. The
    grey channel is repeated and rescaled inside, so that a caller cannot get it wrong.
    """
    image = keras.Input((height_px, width_px, 1), name="image")
    repeated = keras.layers.Concatenate(name="grey_to_rgb")([image, image, image])
    base = keras.applications.EfficientNetB1(include_top=False, weights=None, input_tensor=repeated)
    return keras.Model(image, base.output, name="backbone")


def build(spec: NetworkSpec, drop_rate: float = 0.0) -> keras.Model:
    """The trainable network.

    From ``image`` ``(N, H, W, 1)`` to ``logits`` ``(N, C)`` float32, or with a localisation head to ``[logits, cells,
    sides]``, the latter two ``(N, H/16, W/16, K)`` and ``(N, H/16, W/16, 4)``.
    """
    base = backbone(spec.height_px, spec.width_px)
    pooled = keras.layers.GlobalAveragePooling2D(name="features")(base.output)
    pooled = keras.layers.Dropout(drop_rate, name="head_dropout")(pooled)
    logits = keras.layers.Dense(len(spec.classes), name=HEAD, dtype="float32")(pooled)
    if not spec.localised:
        return keras.Model(base.input, logits, name="fractureai_b1")
    cells, sides = _localised(base, len(spec.localised))
    return keras.Model(base.input, [logits, cells, sides], name="fractureai_b1")


def _localised(base: keras.Model, channels: int) -> tuple[Any, Any]:
    layers = keras.layers
    top = layers.Conv2D(LOCAL_CHANNELS, 1, use_bias=False, name="local_top")(base.get_layer(LAST_MAP).output)
    middle = layers.Conv2D(LOCAL_CHANNELS, 1, use_bias=False, name="local_middle")(base.get_layer(MIDDLE_MAP).output)
    found = layers.Add(name="local_sum")([layers.UpSampling2D(2, name="local_enlarged")(top), middle])
    found = _activated(found, "local_sum")
    found = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="local_dwconv")(found)
    found = _activated(found, "local_dw")
    found = layers.Conv2D(LOCAL_CHANNELS, 1, use_bias=False, name="local_conv")(found)
    found = _activated(found, "local")
    cells = layers.Conv2D(channels, 1, name=CELLS, dtype="float32")(found)
    logarithms = layers.Conv2D(4, 1, name="log_sides", dtype="float32")(found)
    return cells, layers.Lambda(_exponential, name=SIDES, dtype="float32")(logarithms)


def _exponential(logarithms: Any) -> Any:
    return keras.ops.exp(keras.ops.clip(logarithms, *LOG_SIDES_LIMITS))


def _activated(found: Any, name: str) -> Any:
    normal = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(found)
    return keras.layers.Activation("silu", name=f"{name}_activation")(normal)


def explained(network: keras.Model, spec: NetworkSpec) -> keras.Model:
    """The network that is shipped: everything in one pass.

    Parameters
    ----------
    network:
        As :func:`build` makes it.
    spec:
        Its classes and channels, and the canvas; sides are multiples of 32.

    Returns
    -------
    Model from ``image`` ``(N, H, W, 1)`` to a dictionary of float32: ``logits`` ``(N, C)``, ``attention`` ``(N, h, w,
    C)`` and ``features`` ``(N, 1280)``, and with a localisation head ``cells`` ``(N, 2h, 2w, K)`` and ``sides`` ``(N,
    2h, 2w, 4)``. ``attention`` is Grad-CAM before its ReLU, in logits: its sum over ``h, w`` is the logit less the
    bias.
    """
    if spec.height_px is None or spec.width_px is None:
        raise ValueError("a shipped network has a canvas")
    fixed = build(spec)
    fixed.set_weights(network.get_weights())
    head = fixed.get_layer(HEAD)
    cells = (spec.height_px // STRIDE_PX) * (spec.width_px // STRIDE_PX)
    weighted = keras.layers.Conv2D(len(spec.classes), 1, use_bias=False, name="attention", dtype="float32")
    outputs = {"attention": weighted(fixed.get_layer(LAST_MAP).output)}
    weighted.set_weights([head.get_weights()[0][None, None] / cells])
    outputs |= {"logits": head.output, "features": fixed.get_layer("features").output}
    if spec.localised:
        outputs |= {name: fixed.get_layer(name).output for name in (CELLS, SIDES)}
    return keras.Model(fixed.input, outputs, name="explained")


def stored_variables(network: keras.Model) -> dict[str, keras.Variable]:
    """Every weight by ``layer/variable``, names that do not depend on how often a network was built.

    Left out are random states and Keras's input normalisation, which stays at its defaults (mean 0, variance 1) here.
    """
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in network.layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
        if "seed_generator" not in variable.path
    }


def save_weights(network: keras.Model, path: Path, *, half: bool = True) -> None:
    """Write ``weights.h5``: one compressed data set per weight.

    Matrices and kernels are float16 when ``half``; vectors (biases, normalisation statistics) stay float32, because a
    running variance does not fit float16's range.
    """
    # One chunk a weight and the newer file format: the indices of many small chunks would outweigh the compression.
    with h5py.File(path, "w", libver="latest") as file:
        for name, variable in stored_variables(network).items():
            array = np.asarray(variable.numpy(), np.float32)
            kind = np.float16 if half and array.ndim > 1 else np.float32
            packed: dict[str, Any] = {}
            if array.ndim:
                packed = {"chunks": array.shape, "compression": "gzip", "compression_opts": 9, "shuffle": True}
            file.create_dataset(name, data=array.astype(kind), track_times=False, **packed)


def load_weights(network: keras.Model, path: Path) -> None:
    """Read what :func:`save_weights` wrote.

    Raises
    ------
    ValueError
        If a weight is missing in the file or has another shape.
    """
    with h5py.File(path, "r") as file:
        found = {name: np.asarray(file[name], np.float32) for name in stored_variables(network) if name in file}
    assign(network, found)


def assign(network: keras.Model, arrays: Mapping[str, npt.NDArray[np.float32]], *, skip_heads: bool = False) -> None:
    """Set every weight from arrays by the names of :func:`stored_variables`.

    Parameters
    ----------
    skip_heads:
        Leave the dense layer and the localisation head as they are, to start another task from the same features.

    Raises
    ------
    ValueError
        If a weight is missing or has another shape.
    """
    for name, variable in stored_variables(network).items():
        if skip_heads and name.startswith(_OF_HEADS):
            continue
        if name not in arrays:
            raise ValueError(f"there is no weight {name}")
        variable.assign(arrays[name])
