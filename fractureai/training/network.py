"""The one network shape of every model: EfficientNetB1, global average pooling, one dense layer.

Because nothing stands between the last feature map and the logit but a mean and a dense layer, Grad-CAM (Selvaraju
2017) has a closed form (Zhou 2016): the gradient of logit ``c`` with respect to ``A_k`` is ``w_kc / (h·w)`` everywhere,
so the map is ``sum_k w_kc / (h·w) · A_k``. :func:`explained` puts it into the graph as a second output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

FEATURES = 1280
STRIDE_PX = 32
LAST_MAP = "top_activation"
HEAD = "head"


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network decides.

    Attributes
    ----------
    classes:
        Names in the order of the logits; one name means a sigmoid, more a softmax.
    size_px:
        Side of the square canvas; ``None`` leaves it open (training at growing sizes).
    """

    classes: tuple[str, ...]
    size_px: int | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("a network needs at least one class")


def backbone(size_px: int | None = None) -> keras.Model:
    """EfficientNetB1 (Tan and Le 2019) on grey images, without its head and with random weights.

    Returns
    -------
    Model from ``image`` ``(N, H, W, 1)`` float32, grey 0..255, to the last feature map ``(N, H/32, W/32, 1280)``. The
    grey channel is repeated and rescaled inside, so that a caller cannot get it wrong.
    """
    image = keras.Input((size_px, size_px, 1), name="image")
    repeated = keras.layers.Concatenate(name="grey_to_rgb")([image, image, image])
    base = keras.applications.EfficientNetB1(include_top=False, weights=None, input_tensor=repeated)
    return keras.Model(image, base.output, name="backbone")


def build(spec: NetworkSpec, drop_rate: float = 0.0) -> keras.Model:
    """The trainable network: ``image`` ``(N, H, W, 1)`` to ``logits`` ``(N, C)`` float32."""
    base = backbone(spec.size_px)
    pooled = keras.layers.GlobalAveragePooling2D(name="features")(base.output)
    pooled = keras.layers.Dropout(drop_rate, name="head_dropout")(pooled)
    logits = keras.layers.Dense(len(spec.classes), name=HEAD, dtype="float32")(pooled)
    return keras.Model(base.input, logits, name="fractureai_b1")


def explained(network: keras.Model, size_px: int) -> keras.Model:
    """The network that is shipped: ``logits``, ``attention`` and ``features`` in one pass.

    Parameters
    ----------
    network:
        As :func:`build` makes it.
    size_px:
        Side of the square canvas; a multiple of 32.

    Returns
    -------
    Model from ``image`` ``(N, size_px, size_px, 1)`` to ``[logits, attention, features]``: ``(N, C)``, ``(N, h, w, C)``
    and ``(N, 1280)`` float32. ``attention`` is Grad-CAM before its ReLU, in logits: its sum over ``h, w`` is the logit
    less the bias.
    """
    classes = network.get_layer(HEAD).units
    fixed = build(NetworkSpec(tuple(map(str, range(classes))), size_px))
    fixed.set_weights(network.get_weights())
    last_map = fixed.get_layer(LAST_MAP).output
    cells = (size_px // STRIDE_PX) ** 2
    weighted = keras.layers.Conv2D(classes, 1, use_bias=False, name="attention", dtype="float32")
    attention = weighted(last_map)
    weighted.set_weights([fixed.get_layer(HEAD).get_weights()[0][None, None] / cells])
    return keras.Model(fixed.input, [fixed.output, attention, fixed.get_layer("features").output], name="explained")


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


def load_weights(network: keras.Model, path: Path, *, skip_head: bool = False) -> None:
    """Read what :func:`save_weights` wrote.

    Parameters
    ----------
    skip_head:
        Leave the dense layer as it is, to start another task from the same features.

    Raises
    ------
    ValueError
        If a weight is missing in the file or has another shape.
    """
    with h5py.File(path, "r") as file:
        for name, variable in stored_variables(network).items():
            if skip_head and name.startswith(f"{HEAD}/"):
                continue
            if name not in file:
                raise ValueError(f"{path} has no weight {name}")
            variable.assign(np.asarray(file[name], np.float32))


def save_imagenet(path: Path) -> None:
    """Fetch Keras's ImageNet weights of EfficientNetB1 and write them in this module's format, with an empty head.

    They were trained on inputs standardised by channel and divided once more (a known fault that Keras keeps for these
    weights); the first convolution has no bias, so the scale goes into its kernel and only the shift of the mean is
    left to fine-tuning.
    """
    trained = keras.applications.EfficientNetB1(include_top=False, weights="imagenet", input_shape=(240, 240, 3))
    kernels = {layer.name: layer.get_weights() for layer in trained.layers}
    network = build(NetworkSpec(("any",)))
    for layer in network.layers:
        if layer.name in kernels and not isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights(kernels[layer.name])
    deviations = np.array([0.229, 0.224, 0.225], np.float32)
    stem = network.get_layer("stem_conv")
    stem.set_weights([stem.get_weights()[0] / deviations[None, None, :, None]])
    save_weights(network, path, half=False)
