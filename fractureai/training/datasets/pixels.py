"""Grey values of a dataset's file. Trusted files only: what users send is decoded by ``fractureai.imaging``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fractureai.errors import RejectedInput


def read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Read a PNG, JPEG, TIFF or WebP file as ``(H, W)`` uint8.

    Orientation tags are ignored, so that boxes keep their place. Deeper than 8 bits is scaled by its own range.

    Raises
    ------
    RejectedInput
        ``damaged`` if it cannot be read.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise RejectedInput("damaged", path.name)
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) * (255.0 / max(high - low, 1.0)) + 0.5, np.uint8)
