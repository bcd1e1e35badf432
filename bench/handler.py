"""Subject (c): a synchronous Flask handler on Keras, as such projects are usually built.

Everything within the request: pydicom, ``model.predict`` for region and fracture, Grad-CAM by ``GradientTape``, a
heat map by OpenCV, a PDF by reportlab's Platypus. It is not made slow: models are loaded once and warm, nothing is
synced to the disk, nothing is decoded in a child. ``gunicorn bench.handler:app`` serves it.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pydicom
import tensorflow as tf
from flask import Flask, Response, jsonify, request
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Image, Paragraph, SimpleDocTemplate, Spacer, Table

from fractureai.domain.card import ModelCard, NetworkCard, parse_card
from fractureai.training import network
from fractureai.training.architecture import HEAD, NetworkSpec

_LONG_SIDE_PX = 1024  # as in the product, so that both draw pictures of one size


class Model:
    """A Keras network for one task, and the network that Grad-CAM asks."""

    def __init__(self, folder: Path) -> None:
        self.card = parse_card((folder / "card.json").read_bytes(), ModelCard)[0]
        shared = folder.parent / self.card.network.name
        of_network = parse_card((shared / "network.json").read_bytes(), NetworkCard)[0]
        self.input = of_network.input
        canvas = self.input.height_px, self.input.width_px
        whole = network.build(NetworkSpec(tuple(of_network.outputs), tuple(of_network.localised), *canvas))
        network.load_weights(whole, shared / "weights.h5")
        logits = keras.ops.take(whole.get_layer(HEAD).output, self.card.network.logits, axis=-1)
        scores = keras.layers.Activation("softmax" if self.card.task == "region" else "sigmoid")(logits)
        self.network = keras.Model(whole.input, scores)
        self.grad_network = keras.Model(whole.input, [whole.get_layer(network.LAST_MAP).output, scores])

    def prepare(self, grey: np.ndarray) -> np.ndarray:
        """``(h, w)`` uint8 to ``(1, H, W, 1)`` float32."""
        extent = (self.input.width_px, self.input.height_px)
        return cv2.resize(grey, extent, interpolation=cv2.INTER_AREA).astype(np.float32)[None, ..., None]

    def grad_cam(self, batch: np.ndarray) -> np.ndarray:
        """Grad-CAM of the fracture score (Selvaraju 2017), ``(h, w)`` in 0..1."""
        with tf.GradientTape() as tape:
            features, scores = self.grad_network(batch)
            score = scores[:, 0]
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2))
        heat = tf.nn.relu(tf.reduce_sum(features[0] * weights[0], axis=-1)).numpy()
        return heat / max(float(heat.max()), 1e-9)


def create_app(models_dir: Path, results: Path) -> Flask:
    """Load everything, run everything once, and serve."""
    loaded = [Model(path.parent) for path in sorted(models_dir.glob("*/card.json"))]
    region_model = next(model for model in loaded if model.card.task == "region")
    fracture_models = {model.card.region: model for model in loaded if model.card.task == "fracture"}
    for model in loaded:
        batch = model.prepare(np.zeros((64, 64), np.uint8))
        model.network.predict(batch, verbose=0)
        model.grad_cam(batch)
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> Response:
        meter = _Meter()
        grey = meter("decode", read_grey, request.files["image"].read())
        scores = meter("region", region_model.network.predict, region_model.prepare(grey), verbose=0)[0]
        region = region_model.card.classes[int(scores.argmax())]
        model = fracture_models[region]
        batch = model.prepare(grey)
        probability = float(meter("fracture", model.network.predict, batch, verbose=0)[0, 0])
        heat = meter("grad_cam", model.grad_cam, batch)
        stem = results / uuid.uuid4().hex
        meter("overlay", write_pictures, stem, grey, heat)
        meter("report", write_report, stem, region, probability)
        return jsonify(region=region, fracture_probability=probability, report=str(stem), step_cpu_s=meter.spent_s)

    return app


class _Meter:
    """Calls, and adds up processor time by step."""

    def __init__(self) -> None:
        self.spent_s: Counter[str] = Counter()

    def __call__(self, step: str, function: Any, *given: Any, **named: Any) -> Any:
        began_s = time.process_time()
        try:
            return function(*given, **named)
        finally:
            self.spent_s[step] += time.process_time() - began_s


def read_grey(data: bytes) -> np.ndarray:
    """A DICOM file as ``(H, W)`` uint8, at most 1024 px long."""
    dataset = pydicom.dcmread(BytesIO(data))
    pixels = dataset.pixel_array
    scale = _LONG_SIDE_PX / max(pixels.shape)
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.normalize(pixels, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def write_pictures(stem: Path, grey: np.ndarray, heat: np.ndarray) -> None:
    """The image, and the image under its heat map, as JPEG."""
    heat = cv2.resize(heat, grey.shape[::-1])
    coloured = cv2.applyColorMap(np.uint8(255 * heat), cv2.COLORMAP_JET)
    overlay = cv2.addWeighted(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), 0.6, coloured, 0.4, 0)
    cv2.imwrite(f"{stem}-image.jpg", grey)
    cv2.imwrite(f"{stem}-overlay.jpg", overlay)


def write_report(stem: Path, region: str, probability: float) -> None:
    """One page of PDF."""
    styles = getSampleStyleSheet()
    finding = "Fracture" if probability > 0.5 else "No fracture"
    picture_sizes = {"width": 240, "height": 300}
    story = [
        Paragraph("Fracture report", styles["Title"]),
        Table([["Region", region], ["Finding", finding], ["Probability", f"{probability:.3f}"]]),
        Spacer(1, 12),
        Table([[Image(f"{stem}-image.jpg", **picture_sizes), Image(f"{stem}-overlay.jpg", **picture_sizes)]]),
        Paragraph("Not for diagnostic use.", styles["Normal"]),
    ]
    SimpleDocTemplate(f"{stem}.pdf", pagesize=A4).build(story)


if "BENCH_MODELS" in os.environ:
    app = create_app(Path(os.environ["BENCH_MODELS"]), Path(os.environ["BENCH_RESULTS"]))
