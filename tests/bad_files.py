"""Files that cannot be read, each with the reason it must be given. Made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import CTImageStorage

from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render
from tests.pictures import bone, png


@cache
def phantom_dicom(*, seed: int = 1, region: str = "hand", fractured: bool = False) -> bytes:
    """A small honest DICOM radiograph."""
    phantom = render(PhantomSpec(region, "frontal", fractured=fractured, seed=seed, height_px=440, width_px=352))
    uid = f"1.2.826.0.1.3680043.10.1.{seed}"
    return to_dicom(phantom, study_uid=uid, series_uid=f"{uid}.1", sop_uid=f"{uid}.1.1", instance_number=1)


@cache
def bad_files() -> tuple[tuple[str, bytes, str], ...]:
    """``(file name, bytes, reason code)``."""
    return (
        ("empty.dcm", b"", "empty_file"),
        ("truncated.dcm", phantom_dicom()[:-20_000], "damaged"),
        ("text.png", b"Patient was seen today.\n", "unknown_type"),
        ("one-pixel.png", png(1, 1), "too_small"),
        ("flood.png", _flood_png(20_000), "too_many_pixels"),
        ("near-black.png", _near_black(), "under_exposed"),
        ("cmyk.jpg", _saved("JPEG", "CMYK"), "colour_image"),
        ("animated.gif", _animated_gif(), "unknown_type"),
        ("no-pixels.dcm", _without_pixels(), "no_pixels"),
        ("ct.dcm", _as_ct(), "not_a_radiograph"),
    )


def sixteen_bit_png() -> bytes:
    """A PNG of 16 bits, which is read."""
    stream = io.BytesIO()
    Image.fromarray(bone(400, 300).astype(np.uint16) * 200).save(stream, "PNG")
    return stream.getvalue()


def _flood_png(side: int) -> bytes:
    """A PNG of ``side × side`` one-bit pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 1)
    pixels = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _near_black() -> bytes:
    """A picture that was exported, or exposed, at a sixteenth of the scale."""
    stream = io.BytesIO()
    Image.fromarray(bone(200, 200) >> 4).save(stream, "PNG")
    return stream.getvalue()


def _saved(kind: str, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(bone(200, 200)).convert("RGB").convert(mode).save(stream, kind)
    return stream.getvalue()


def _animated_gif() -> bytes:
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(bone(64, 64, seed=seed)) for seed in range(3)]
    first.save(stream, "GIF", save_all=True, append_images=rest)
    return stream.getvalue()


def _without_pixels() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(phantom_dicom()))
    del dataset.PixelData
    return _written(dataset)


def _as_ct() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(phantom_dicom()))
    dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    return _written(dataset)


def _written(dataset: pydicom.Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
