"""The grayscale transformations of a DICOM image (PS3.4 section N.2), worked out once per stored code, not per pixel.

Every chain of modality LUT, VOI LUT, window and polarity is a function of the stored value alone. It is therefore
computed for each of the 256 or 65,536 codes a pixel can hold, and the image is mapped through that table in one pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import DigitalXRayImageStorageForProcessing, ExplicitVRBigEndian

from fractureai.errors import RejectedInput
from fractureai.imaging import normalise
from fractureai.imaging.dicom_header import element
from fractureai.imaging.shutter import shown_area

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class StoredPixels:
    """Pixels as codes, and what each code means.

    Attributes
    ----------
    codes:
        ``(H, W)`` uint8 or uint16, contiguous: the bits as they lie in the file.
    values:
        ``(256,)`` or ``(65536,)`` float32: the stored value of each code, unused bits masked, sign extended.
    """

    codes: normalise.Values
    values: Reals

    @classmethod
    def from_words(cls, words: npt.NDArray[Any], *, bits_stored: int, high_bit: int, signed: bool) -> StoredPixels:
        """From uncompressed words, whose unused bits may hold anything (PS3.5 section 8.1.1)."""
        codes = words.astype(words.dtype.newbyteorder("="), copy=False).view(f"u{words.itemsize}")
        below = high_bit + 1 - bits_stored
        if not (bits_stored >= 1 and below >= 0 and high_bit < 8 * words.itemsize):
            raise RejectedInput("damaged", "bits stored do not fit the bits allocated")
        values = (np.arange(1 << (8 * words.itemsize), dtype=np.int32) >> below) & ((1 << bits_stored) - 1)
        if signed:
            values = np.where(values >= 1 << (bits_stored - 1), values - (1 << bits_stored), values)
        return cls(codes, values.astype(np.float32))

    @classmethod
    def from_decoded(cls, pixels: npt.NDArray[Any]) -> StoredPixels:
        """From a decompressor, which gives values of the right sign already."""
        codes = pixels.view(f"u{pixels.itemsize}")
        every = np.arange(1 << (8 * pixels.itemsize), dtype=codes.dtype)
        return cls(codes, every.view(pixels.dtype.newbyteorder("=")).astype(np.float32))


def to_grey(stored: StoredPixels, dataset: Dataset, long_side_px: int) -> normalise.Grey:
    """Show an image as its makers meant it, bones bright, at its final size.

    The order is that of PS3.4 section N.2: modality, values of interest, polarity. Without window or table the
    levels of an 8-bit image stay as they are and a deeper one is spread by its percentiles; so it is too where the
    header's window shows nothing of an image that does show something.

    Parameters
    ----------
    stored:
        The pixels.
    dataset:
        The header; pixel data are not looked at.
    long_side_px:
        Limit of the result's long side.

    Returns
    -------
    ``(h, w)`` uint8. Padding, and what lies outside of shutters and collimators, is 0.

    Raises
    ------
    RejectedInput
        ``blank_image``; ``damaged`` if a table in the header is malformed.
    """
    padding = _padding(stored.values, dataset)
    area = shown_area(dataset, *stored.codes.shape)
    seen = normalise.sample(stored.codes)
    if area is not None:
        seen = seen[normalise.sample(area) > 0]
    if padding is not None:
        seen = seen[~padding[seen]]
    if normalise.is_blank(stored.values[seen]):
        raise RejectedInput("blank_image")
    shown = _shown(stored, dataset, seen)
    if (dataset.get("PhotometricInterpretation") == "MONOCHROME1") != _is_raw_negative(dataset):
        shown = 1.0 - shown
    if padding is not None:
        shown = np.where(padding, 0.0, shown)
    grey = normalise.apply_table(stored.codes, normalise.to_levels(shown))
    if area is not None:
        grey = cv2.multiply(grey, area)
    return normalise.shrink(grey, long_side_px)  # type: ignore[return-value]


def _is_raw_negative(dataset: Dataset) -> bool:
    """Whether bones are dark although the polarity says otherwise: only in raw images, which are not made to be shown.

    There the sign tells what the pixels are: of 1, they grow with the intensity of the beam, and bones are low.
    """
    if element(dataset, "SOPClassUID") != DigitalXRayImageStorageForProcessing:
        return False
    sign = element(dataset, "PixelIntensityRelationshipSign")
    is_inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    return (sign == 1 and not is_inverted) or (sign == -1 and is_inverted)


def _shown(stored: StoredPixels, dataset: Dataset, seen: npt.NDArray[Any]) -> Reals:
    """0..1 for each code, before polarity. ``seen``: a sample of the image's codes, padding left out."""
    modality = _modality(stored.values, dataset)
    shown = _voi(modality, dataset)
    if shown is not None and not normalise.is_blank(shown[seen] * 255.0):
        return shown
    if stored.codes.dtype == np.uint8:
        return normalise.spread(modality, float(modality.min()), float(modality.max()))
    return normalise.spread(modality, *normalise.percentile_window(modality[seen]))


def _modality(values: Reals, dataset: Dataset) -> Reals:
    """Modality LUT or rescale (PS3.3 section C.11.1). A missing or unusable slope is 1, a missing intercept 0."""
    item = _first_item(dataset, "ModalityLUTSequence")
    if item is not None:
        return _look_up(item, values, dataset)
    slope = _number(element(dataset, "RescaleSlope")) or 1.0
    intercept = _number(element(dataset, "RescaleIntercept")) or 0.0
    return (values * np.float32(slope) + np.float32(intercept)).astype(np.float32)


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
        return normalise.spread(values, center - width / 2, center + width / 2)
    if width <= 1:
        return (values > center - 0.5).astype(np.float32)
    return normalise.spread(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


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
    if table.size == 0:
        raise ValueError("an empty lookup table")
    return table[:entries]


def _padding(values: Reals, dataset: Dataset) -> npt.NDArray[np.bool_] | None:
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
