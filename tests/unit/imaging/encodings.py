"""Compressed pictures made by imagecodecs, and DICOM data sets that hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

Encode = Callable[..., bytes]


def _jpeg(pixels: np.ndarray, bits: int, **options: Any) -> bytes:
    lossy = {} if options.get("lossless") else {"level": 98}
    return imagecodecs.jpeg8_encode(pixels, bitspersample=bits, **lossy, **options)


def _jpeg_2000(pixels: np.ndarray, bits: int, **options: Any) -> bytes:
    return imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=bits, **options)


ENCODERS: dict[str, Encode] = {
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: lambda pixels, bits: _jpeg(pixels, bits, lossless=True, predictor=4),
    uid.JPEGLosslessSV1: lambda pixels, bits: _jpeg(pixels, bits, lossless=True, predictor=1),
    uid.JPEGLSLossless: lambda pixels, bits: imagecodecs.jpegls_encode(pixels),
    uid.JPEGLSNearLossless: lambda pixels, bits: imagecodecs.jpegls_encode(pixels, level=2),
    uid.JPEG2000Lossless: lambda pixels, bits: _jpeg_2000(pixels, bits, reversible=True, level=0),
    uid.JPEG2000: lambda pixels, bits: _jpeg_2000(pixels, bits, level=60),
    uid.HTJ2KLossless: lambda pixels, bits: imagecodecs.htj2k_encode(pixels),
    uid.HTJ2K: lambda pixels, bits: imagecodecs.htj2k_encode(pixels, reversible=False, level=0.001),
}
"""By transfer syntax: unsigned samples and their bits to a stream."""


def compress(dataset: Dataset, pixels: np.ndarray, syntax: str) -> Dataset:
    """Put pixels into a data set in a compressed transfer syntax; the words of signed ones as they are."""
    if syntax == uid.RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
        return dataset
    stored = int(dataset.BitsStored)
    words = pixels
    if pixels.dtype.kind == "i" and syntax not in {uid.JPEG2000Lossless, uid.JPEG2000}:
        words = pixels.view(f"u{pixels.itemsize}") & np.array((1 << stored) - 1, f"u{pixels.itemsize}")
    dataset.PixelData = encapsulate([ENCODERS[syntax](np.ascontiguousarray(words), stored)])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset
