"""Files made for the tests: DICOM with any attribute, pictures with any extent."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def build_dataset(pixels: np.ndarray | None, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Dataset:
    """A minimal DX object; ``attributes`` by keyword, ``None`` leaves one out."""
    dataset = Dataset()
    dataset.SOPClassUID = DX
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.Modality = "DX"
    if pixels is not None:
        bits = 8 * pixels.itemsize
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
        dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
        if pixels.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if "BitsStored" in attributes and "HighBit" not in attributes:
        dataset.HighBit = attributes["BitsStored"] - 1
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", DX)
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def build_png_header(width: int, height: int) -> bytes:
    """A PNG that claims an extent and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    return build_dataset


@pytest.fixture
def dicom() -> Callable[..., bytes]:
    def build(pixels: np.ndarray | None, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
        return to_bytes(build_dataset(pixels, syntax, **attributes))

    return build


@pytest.fixture
def written() -> Callable[[Dataset], bytes]:
    return to_bytes


@pytest.fixture
def png_header() -> Callable[[int, int], bytes]:
    return build_png_header


@pytest.fixture
def ramp() -> np.ndarray:
    """``(64, 96)`` uint8 whose every column is one level, 0 to 255."""
    return np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files that stays outside the repository."""
    beside = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("FRACTUREAI_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}; set FRACTUREAI_SHARED_DATA to their folder")
    return folder
