"""From trained weights to what is shipped: OpenVINO IR and Keras weights in fp16, and the card's hashes of both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import keras

from fractureai.training import network as net

IR_XML, IR_BIN, KERAS_WEIGHTS, CARD = "model.xml", "model.bin", "weights.h5", "card.json"
OUTPUTS = ("logits", "attention", "features")

CITATION = (
    "Abedeen, I., Rahman, M. A., Prottyasha, F. Z., Ahmed, T., Chowdhury, T. M., Shatabda, S. FracAtlas: A Dataset for "
    "Fracture Classification, Localization and Segmentation of Musculoskeletal Radiographs. Scientific Data 10, 521 "
    "(2023). doi:10.1038/s41597-023-02432-4"
)


def to_openvino(network: keras.Model, size_px: int, folder: Path) -> None:
    """Write ``model.xml`` and ``model.bin`` (fp16 constants) with the inputs and outputs the serving engine expects.

    The graph takes ``image`` ``(N, size_px, size_px, 1)`` float32 and gives ``logits``, ``attention`` and ``features``
    (:func:`fractureai.training.network.explained`). Needs Keras on TensorFlow.
    """
    import openvino
    import tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = net.explained(network, size_px)
    function = tensorflow.function(lambda image: dict(zip(OUTPUTS, model(image, training=False), strict=True)))
    signature = tensorflow.TensorSpec((None, size_px, size_px, 1), tensorflow.float32, name="image")
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(signature))
    converted = openvino.convert_model(frozen.graph.as_graph_def())
    converted.inputs[0].get_tensor().set_names({"image"})
    # TensorFlow flattens a dictionary in the order of its sorted keys.
    for name, port in zip(sorted(OUTPUTS), converted.outputs, strict=True):
        port.get_tensor().set_names({name})
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(converted, folder / IR_XML, compress_to_fp16=True)


def file_entries(folder: Path, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The card's ``files``: sha256 and size of each named file."""
    return {
        name: {
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            "size_bytes": (folder / name).stat().st_size,
        }
        for name in names
    }


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write ``card.json`` with the hashes of the files beside it, stable in its bytes."""
    extra = (card["scope"]["file"],) if card.get("scope") else ()
    names = (IR_XML, IR_BIN, KERAS_WEIGHTS, *extra)
    filled = card | {"files": file_entries(folder, names)}
    (folder / CARD).write_text(json.dumps(filled, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
