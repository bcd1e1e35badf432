"""The grayscale transformations of a DICOM image (PS3.4 section N.2), worked out once per stored code, not per pixel.

Every chain of modality LUT, VOI LUT, window and polarity is a function of the stored value alone. It is therefore
computed for each of the 256 or 65,536 codes a pixel can hold, and the image is mapped through that table in one pass.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import DigitalXRayImageStorageForProcessing, ExplicitVRBigEndian

from fractureai.errors import RejectedInput
from fractureai.imaging import grayscale
from fractureai.imaging.dicom_header import element
from fractureai.imaging.dicom_words import StoredPixels
from fractureai.imaging.grayscale import Grey, Mask, Reals, spread
from fractureai.imaging.shutter import shown_area


def to_grey(stored: StoredPixels, dataset: Dataset) -> Grey:
    """Show an image as its makers meant it, bones bright.

    The order is that of PS3.4 section N.2: modality, values of interest, polarity. Without window or table, or where
    the header's window shows nothing of an image that does show something, the stored values are shown on the whole
    scale that they have; :mod:`fractureai.imaging.grayscale` then fills the picture's.

    Parameters
    ----------
    stored:
        The pixels.
    dataset:
        The header; pixel data are not looked at.

    Returns
    -------
    ``(H, W)`` uint8. Padding, and what lies outside of shutters and collimators, is 0.

    Raises
    ------
    RejectedInput
        ``blank_image``, ``under_exposed``; ``damaged`` if a table in the header is malformed.
    """
    padding = _padding(stored.values, dataset)
    area = shown_area(dataset, *stored.codes.shape)
    seen = grayscale.grid(stored.codes)
    seen = seen[grayscale.grid(area) > 0] if area is not None else seen.ravel()
    if padding is not None:
        seen = seen[~padding[seen]]
    if grayscale.is_blank(stored.values[seen]):
        raise RejectedInput("blank_image")
    shown = _shown(stored, dataset, seen)
    if is_inverted(dataset) != _is_raw_negative(dataset):
        shown = np.float32(1.0) - shown
    return grayscale.picture(stored.codes, shown, unexposed=padding, area=area)


def is_inverted(dataset: Dataset) -> bool:
    """Whether high values are shown dark: by the photometric interpretation, or by the presentation LUT's shape.

    The standard wants both to agree (PS3.3 section C.8.11.3); where only one says so, it was set on purpose.
    """
    shape = str(element(dataset, "PresentationLUTShape") or "").strip().upper()
    return dataset.get("PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def _is_raw_negative(dataset: Dataset) -> bool:
    """Whether bones are dark although the polarity says otherwise: only in raw images, which are not made to be shown.

    There the sign tells what the pixels are: of 1, they grow with the intensity of the beam, and bones are low.
    """
    if element(dataset, "SOPClassUID") != DigitalXRayImageStorageForProcessing:
        return False
    sign = element(dataset, "PixelIntensityRelationshipSign")
    inverted = is_inverted(dataset)
    return (sign == 1 and not inverted) or (sign == -1 and inverted)


def _shown(stored: StoredPixels, dataset: Dataset, seen: npt.NDArray[Any]) -> Reals:
    """0..1 for each code, before polarity. ``seen``: a sample of the image's codes, padding left out."""
    modality = _modality(stored.values, dataset)
    shown = _voi(modality, dataset)
    if shown is not None and not _hides_all(shown[seen]):
        return shown
    return spread(modality, float(modality.min()), float(modality.max()))


def _hides_all(shown: Reals) -> bool:
    """Whether a window leaves nearly one level, or black and white only."""
    levels = grayscale.to_levels(shown)
    return grayscale.is_blank(levels) or np.count_nonzero(np.bincount(levels)) <= 2


def _modality(values: Reals, dataset: Dataset) -> Reals:
    """Modality LUT or rescale (PS3.3 section C.11.1). A missing or unusable slope is 1, a missing intercept 0."""
    item = _first_item(dataset, "ModalityLUTSequence")
    if item is not None:
        return _look_up(item, values, dataset)
    slope = _number(element(dataset, "RescaleSlope")) or 1.0
    intercept = _number(element(dataset, "RescaleIntercept")) or 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        rescaled = values * np.float32(slope) + np.float32(intercept)
    return rescaled if np.isfinite(rescaled).all() else values


def _voi(modality: Reals, dataset: Dataset) -> Reals | None:
    """VOI LUT or first usable window (PS3.3 section C.11.2) as 0..1; ``None`` if the header has neither.

    A table is preferred to a window: it is the maker's own curve for the anatomy.
    """
    item = _first_item(dataset, "VOILUTSequence")
    if item is not None:
        table = _look_up(item, modality, dataset)
        # The declared depth is often larger than the one used; the entries themselves tell.
        full_scale = float((1 << max(1, math.ceil(math.log2(float(table.max()) + 1)))) - 1)
        return np.asarray(table / full_scale, np.float32)
    for center, width in zip(
        _numbers(element(dataset, "WindowCenter")), _numbers(element(dataset, "WindowWidth")), strict=False
    ):
        if center is not None and width is not None and width > 0:
            return window(modality, center, width, str(element(dataset, "VOILUTFunction") or "LINEAR").strip().upper())
    return None


def window(values: Reals, center: float, width: float, function: str) -> Reals:
    """Apply a window (PS3.3 section C.11.2.1.2 and C.11.2.1.3).

    Parameters
    ----------
    values:
        Any shape, after the modality transformation.
    center, width:
        In units of ``values``; ``width`` positive.
    function:
        ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``; anything else is read as ``LINEAR``.

    Returns
    -------
    0..1, the same shape.
    """
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - center) / width, -60.0, 60.0)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)), np.float32)
    if function == "LINEAR_EXACT":
        return spread(values, center - width / 2, center + width / 2)
    if width <= 1:
        return (values > center - 0.5).astype(np.float32)
    return spread(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _look_up(item: Dataset, values: Reals, dataset: Dataset) -> Reals:
    """Map values through a LUT Sequence's item: below the first entry the first, above the last the last."""
    try:
        entries, first = int(item.LUTDescriptor[0]) or 65536, int(item.LUTDescriptor[1])
        table = _entries(item.LUTData, entries, dataset)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise RejectedInput("damaged", "a lookup table in the header is malformed") from error
    if first >= 32768 and first > values.max():  # A negative value read under the unsigned VR.
        first -= 65536
    index = np.clip(np.nan_to_num(values) - first, 0, table.size - 1).astype(np.intp)
    return table[index].astype(np.float32)


def _entries(data: Any, entries: int, dataset: Dataset) -> npt.NDArray[Any]:
    if isinstance(data, bytes):
        if len(data) < 2 * entries:
            table = np.frombuffer(data, np.uint8)
        else:
            big_endian = dataset.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian
            table = np.frombuffer(data[: 2 * entries], ">u2" if big_endian else "<u2")
    else:
        table = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
        if table.size == (entries + 1) // 2:  # two entries of 8 bits a word
            table = table.astype("<u2").view(np.uint8)
    if table.size == 0:
        raise ValueError("an empty lookup table")
    return table[:entries]


def _padding(values: Reals, dataset: Dataset) -> Mask | None:
    """Which codes are padding (PS3.3 section C.7.5.1.1.2); ``None`` if the header names none.

    The attribute's VR may be unsigned where the pixels are signed, so a value beyond them is read as negative.
    """
    low = _number(element(dataset, "PixelPaddingValue"))
    if low is None:
        return None
    limit = _number(element(dataset, "PixelPaddingRangeLimit"))
    bounds = [low, low if limit is None else limit]
    signed = [bound - 65536 if bound > values.max() and bound >= 32768 else bound for bound in bounds]
    return np.asarray((values >= min(signed)) & (values <= max(signed)))


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    sequence = element(dataset, keyword)
    return sequence[0] if sequence else None


def _numbers(value: Any) -> list[float | None]:
    """Every value of an element."""
    return [_number(one) for one in value] if isinstance(value, (MultiValue, list, tuple)) else [_number(value)]


def _number(value: Any) -> float | None:
    """The first finite number of an element; ``None`` if there is none."""
    try:
        if not isinstance(value, (str, bytes)) and hasattr(value, "__getitem__"):
            value = value[0]
        number = float(value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None
