"""DICOM radiographs in: read the header, refuse what is no single radiograph, decode the pixels."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fractureai.domain.radiograph import Radiograph
from fractureai.errors import RejectedInput
from fractureai.imaging import normalise
from fractureai.imaging.colour import grey_of_colour
from fractureai.imaging.dicom_context import read_context
from fractureai.imaging.dicom_header import element, pixel_spacing_mm, read_header
from fractureai.imaging.extent import check_extent
from fractureai.imaging.grayscale import StoredPixels, to_grey
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.text import clean

# pydicom's messages quote the values they stumble on, patient data among them.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
config.settings.reading_validation_mode = config.IGNORE

_SECONDARY_CAPTURE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
        "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte, of one frame
        "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word, of one frame
    }
)
_RADIOGRAPHY = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
        "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
        "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
        "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic: a still
    }
)
_SOP_CLASSES = _RADIOGRAPHY | _SECONDARY_CAPTURE
_RADIOGRAPHY_MODALITIES = frozenset({"CR", "DX", "RG", "RF"})
# What a secondary capture of a radiograph is labelled with, if at all.
_CAPTURE_MODALITIES = _RADIOGRAPHY_MODALITIES | {"OT", "SC", ""}
# What pydicom found out about a file that does not say: (implicit VR, little endian) to transfer syntax.
_ENCODINGS = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
_MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})


def read_dicom(data: bytes, limits: DecodeLimits) -> Radiograph:
    """Decode one radiograph.

    Parameters
    ----------
    data:
        The whole file.
    limits:
        Checked on the header, before any pixel is decoded.

    Raises
    ------
    RejectedInput
        With the reason; any error of pydicom or a decoder is ``damaged``.
    """
    dataset, syntax = _parse(data, limits)
    try:
        _refuse_other_objects(dataset)
        height, width = _extent(dataset, limits)
        pixels = _grey(dataset, limits.long_side_px)
        header, spacing_mm = read_header(dataset, syntax), pixel_spacing_mm(dataset)
        return Radiograph(pixels, height, width, header, spacing_mm, read_context(dataset))
    except (RejectedInput, MemoryError):
        raise
    except NotImplementedError as error:
        raise RejectedInput("unsupported_encoding", UID(syntax).name if syntax else "") from error
    except Exception as error:  # pydicom and its plug-ins raise any built-in type on hostile bytes; all mean the same.
        raise RejectedInput("damaged", "the DICOM pixel data cannot be decoded") from error


def study_instance_uid(data: bytes, limits: DecodeLimits) -> str:
    """The StudyInstanceUID, ``""`` where there is none or the file cannot be parsed."""
    try:
        dataset, _ = _parse(data, limits, only=["StudyInstanceUID"])
    except RejectedInput:
        return ""
    return clean(element(dataset, "StudyInstanceUID") or "")


def _parse(data: bytes, limits: DecodeLimits, only: list[str] | None = None) -> tuple[Dataset, str]:
    """The data set with its file meta information, and the UID of the transfer syntax in the file.

    ``only``: keywords to read; the pixels are left out then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pydicom drops the element in which the file ends, with no more than this warning.
        warnings.filterwarnings("error", message="End of file reached")
        try:
            meta, body_at = _file_meta(data)
            syntax = str(meta.get("TransferSyntaxUID", ""))
            if syntax == DeflatedExplicitVRLittleEndian:
                dataset: Dataset = _inflated(data[body_at:], limits.max_bytes)
                meta.TransferSyntaxUID = ExplicitVRLittleEndian
                dataset.file_meta = meta
            else:
                dataset = pydicom.dcmread(
                    io.BytesIO(data), force=True, specific_tags=only, stop_before_pixels=only is not None
                )
        except (RejectedInput, MemoryError):
            raise
        except Exception as error:  # See read_dicom; RecursionError of endless sequences included.
            raise RejectedInput("damaged", "the DICOM elements cannot be parsed") from error
    if not dataset:
        raise RejectedInput("damaged", "the DICOM file holds no elements")
    if not syntax and dataset.original_encoding in _ENCODINGS:
        dataset.file_meta.TransferSyntaxUID = _ENCODINGS[dataset.original_encoding]
    return dataset, syntax


def _file_meta(data: bytes) -> tuple[FileMetaDataset, int]:
    """File meta information, and where it ends."""
    stream = io.BytesIO(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    found = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    return FileMetaDataset(found), stream.tell()


def _inflated(packed: bytes, max_bytes: int) -> Dataset:
    """Inflate a deflated data set within bounds; pydicom's own reader has none (1 MB can become 1 GiB)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(packed, max_bytes)
    if inflater.unconsumed_tail:
        raise RejectedInput("too_many_bytes", f"inflates to more than {max_bytes} bytes")
    if not inflater.eof:
        raise RejectedInput("damaged", "the deflated DICOM data end early")
    dataset = read_dataset(io.BytesIO(body), False, True)
    dataset.set_original_encoding(False, True, dataset._character_set)
    return dataset


def _refuse_other_objects(dataset: Dataset) -> None:
    sop_class = str(element(dataset, "SOPClassUID") or "")
    modality = str(element(dataset, "Modality") or "").strip().upper()
    modalities = _CAPTURE_MODALITIES if sop_class in _SECONDARY_CAPTURE else _RADIOGRAPHY_MODALITIES | {""}
    known = sop_class in _SOP_CLASSES and modality in modalities
    # Anonymisers that drop the SOP Class leave the modality.
    if not known and not (sop_class == "" and modality in _RADIOGRAPHY_MODALITIES):
        if sop_class not in _SOP_CLASSES and "Rows" not in dataset:
            raise RejectedInput("no_pixels", _what(sop_class, modality))
        raise RejectedInput("not_a_radiograph", _what(sop_class, modality))
    if "PixelData" not in dataset:
        raise RejectedInput("no_pixels")
    if not dataset["PixelData"].value:
        raise RejectedInput("no_pixels")


def _what(sop_class: str, modality: str) -> str:
    """What an object is, in the standard's words; free text of the file is not repeated."""
    name = UID(sop_class).name if sop_class else ""
    parts = [name if name != sop_class else "", f"modality {modality}" if re.fullmatch("[A-Z]{1,8}", modality) else ""]
    return ", ".join(part for part in parts if part)


def _extent(dataset: Dataset, limits: DecodeLimits) -> tuple[int, int]:
    """Rows and columns, once all that decides the decoder's memory is within the limits."""
    frames = int(element(dataset, "NumberOfFrames") or 1)
    if frames > limits.max_frames:
        raise RejectedInput("multi_frame", f"{frames} frames")
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_extent(height, width, limits)
    if int(dataset.get("SamplesPerPixel", 1)) not in {1, 3}:
        raise RejectedInput("damaged", "neither one nor three samples per pixel")
    if int(dataset.BitsAllocated) not in {1, 8, 16}:
        raise RejectedInput("unsupported_encoding", f"{int(dataset.BitsAllocated)} bits per sample")
    return height, width


def _grey(dataset: Dataset, long_side_px: int) -> normalise.Grey:
    # Old files omit what the decoders demand.
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    dataset.PhotometricInterpretation = photometric
    dataset.SamplesPerPixel = int(dataset.get("SamplesPerPixel") or 1)
    dataset.PixelRepresentation = int(dataset.get("PixelRepresentation") or 0)
    if photometric in _MONOCHROME:
        return to_grey(_stored(dataset), dataset, long_side_px)
    colours = _decoded(dataset, raw=False)
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(colours, dataset)
    if colours.ndim != 3 or colours.shape[-1] != 3:
        raise RejectedInput("unsupported_encoding", clean(photometric)[:16])
    if colours.dtype != np.uint8:
        colours = (colours >> (8 * colours.itemsize - 8)).astype(np.uint8)
    return normalise.grey_from_8_bit(grey_of_colour(colours, luma_first=False), long_side_px)


def _stored(dataset: Dataset) -> StoredPixels:
    allocated = int(dataset.BitsAllocated)
    words = np.ascontiguousarray(_decoded(dataset, raw=True))
    if _transfer_syntax(dataset).is_compressed or allocated == 1:
        return StoredPixels.from_decoded(words)
    stored = int(dataset.get("BitsStored") or allocated)
    high_bit = int(dataset.get("HighBit", stored - 1))
    return StoredPixels.from_words(
        words, bits_stored=stored, high_bit=high_bit, signed=int(dataset.PixelRepresentation) == 1
    )


def _decoded(dataset: Dataset, *, raw: bool) -> Any:
    """Pixels by pydicom's decoder of the transfer syntax; without copies or corrections that the table makes."""
    decoder = get_decoder(_transfer_syntax(dataset))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels, _ = decoder.as_array(dataset, raw=raw, view_only=True, correct_unused_bits=False)
    return pixels


def _transfer_syntax(dataset: Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    if syntax is None:
        raise NotImplementedError("no transfer syntax")
    return syntax
