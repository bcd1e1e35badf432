"""From trained weights to what is shipped: OpenVINO IR and Keras weights in fp16."""

from __future__ import annotations

from pathlib import Path

import keras

from fractureai.inference.engine import LOCALISATION, OUTPUTS
from fractureai.training import network as net
from fractureai.training.architecture import NetworkSpec

IR_XML, IR_BIN, KERAS_WEIGHTS = "model.xml", "model.bin", "weights.h5"


def to_openvino(network: keras.Model, spec: NetworkSpec, folder: Path) -> None:
    """Write ``model.xml`` and ``model.bin`` (fp16 constants) with the inputs and outputs the serving engine expects.

    The graph takes ``image`` ``(N, H, W, 1)`` float32 and gives what :func:`fractureai.training.network.explained`
    does. Needs Keras on TensorFlow.
    """
    import openvino
    import tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = net.explained(network, spec)
    function = tensorflow.function(lambda image: model(image, training=False))
    signature = tensorflow.TensorSpec((None, spec.height_px, spec.width_px, 1), tensorflow.float32, name="image")
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(signature))
    converted = openvino.convert_model(frozen.graph.as_graph_def())
    converted.inputs[0].get_tensor().set_names({"image"})
    # TensorFlow flattens a dictionary in the order of its sorted keys.
    names = sorted(OUTPUTS + (LOCALISATION if spec.localised else ()))
    for name, port in zip(names, converted.outputs, strict=True):
        port.get_tensor().set_names({name})
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(converted, folder / IR_XML, compress_to_fp16=True)
