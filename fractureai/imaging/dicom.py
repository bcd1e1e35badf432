"""DICOM radiographs in: read the header, refuse what is no single radiograph, decode the pixels."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_fragments
from pydicom.filereader import read_dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from fractureai.domain.radiograph import Radiograph
from fractureai.domain.sizes import binary_size
from fractureai.errors import RejectedInput
from fractureai.imaging import jpeg2000, normalise
from fractureai.imaging.body_part import body_part_examined
from fractureai.imaging.codestream import declared_samples, has_declaration
from fractureai.imaging.colour import grey_of_colour
from fractureai.imaging.dicom_context import read_context
from fractureai.imaging.dicom_header import element, pixel_spacing_mm, read_header
from fractureai.imaging.dicom_scope import refuse_other_objects
from fractureai.imaging.extent import check_extent
from fractureai.imaging.grayscale import StoredPixels, to_grey
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.text import clean

# pydicom's messages quote the values they stumble on, patient data among them.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
config.settings.reading_validation_mode = config.IGNORE
jpeg2000.bound_pydicom()

# What pydicom found out about a file that does not say: (implicit VR, little endian) to transfer syntax.
_ENCODINGS = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_MOST_SAMPLES = 3
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
    dataset, syntax = parse(data, limits)
    try:
        refuse_other_objects(dataset)
        height, width = _extent(dataset, limits)
        pixels = _grey(dataset, limits.long_side_px)
        header = replace(read_header(dataset, syntax), body_part_examined=body_part_examined(dataset))
        spacing_mm = pixel_spacing_mm(dataset)
        return Radiograph(pixels, height, width, header, spacing_mm, read_context(dataset))
    except (RejectedInput, MemoryError):
        raise
    except NotImplementedError as error:
        raise RejectedInput("unsupported_encoding", UID(syntax).name if syntax else "") from error
    except Exception as error:  # pydicom and its plug-ins raise any built-in type on hostile bytes; all mean the same.
        if syntax.startswith("1.2.840.10008.") and syntax not in UID_dictionary:
            raise RejectedInput("unsupported_encoding", clean(syntax)) from error
        raise RejectedInput("damaged", "the DICOM pixel data cannot be decoded") from error


def study_instance_uid(data: bytes, limits: DecodeLimits) -> str:
    """The StudyInstanceUID, ``""`` where there is none or the file cannot be parsed."""
    try:
        dataset, _ = parse(data, limits, only=["StudyInstanceUID"])
    except RejectedInput:
        return ""
    return clean(element(dataset, "StudyInstanceUID") or "")


def parse(data: bytes, limits: DecodeLimits, only: list[str] | None = None) -> tuple[Dataset, str]:
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
    if syntax == _ENCAPSULATED_UNCOMPRESSED and "PixelData" in dataset:
        _unwrap(dataset)
    if not syntax and dataset.original_encoding in _ENCODINGS:
        dataset.file_meta.TransferSyntaxUID = _ENCODINGS[dataset.original_encoding]
    return dataset, syntax


def _unwrap(dataset: Dataset) -> None:
    """Take native pixels out of their fragments (PS3.5 section A.4.11)."""
    try:
        fragments = list(generate_fragments(dataset.PixelData))
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        raise RejectedInput("damaged", "the fragments of the pixel data cannot be told apart") from error
    # The first item is the offset table.
    dataset.PixelData = b"".join(fragments[1:])
    dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _file_meta(data: bytes) -> tuple[FileMetaDataset, int]:
    """File meta information, and where it ends. Raises ``ValueError`` for sequences in it: there are none."""
    stream = io.BytesIO(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    found = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    if any(each.VR == "SQ" for each in found.values()):  # pydicom would write them as text, which may take for ever
        raise ValueError("a sequence in the file meta information")
    return FileMetaDataset(found), stream.tell()


def _inflated(packed: bytes, max_bytes: int) -> Dataset:
    """Inflate a deflated data set within bounds; pydicom's own reader has none (1 MB can become 1 GiB)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(packed, max_bytes)
    if inflater.unconsumed_tail:
        raise RejectedInput("too_many_bytes", f"inflates to more than {binary_size(max_bytes)}")
    if not inflater.eof:
        raise RejectedInput("damaged", "the deflated DICOM data end early")
    dataset = read_dataset(io.BytesIO(body), False, True)
    dataset.set_original_encoding(False, True, dataset._character_set)
    return dataset


def _extent(dataset: Dataset, limits: DecodeLimits) -> tuple[int, int]:
    """Rows and columns, once all that decides the decoder's memory is within the limits."""
    frames = int(element(dataset, "NumberOfFrames") or 1)
    if frames > limits.max_frames:
        raise RejectedInput("multi_frame", f"{frames} frames")
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_extent(height, width, limits)
    _infer_bits(dataset, height * width)
    if int(dataset.get("SamplesPerPixel", 1)) not in {1, _MOST_SAMPLES}:
        raise RejectedInput("damaged", "neither one nor three samples per pixel")
    if int(dataset.BitsAllocated) not in {1, 8, 16}:
        raise RejectedInput("unsupported_encoding", f"{int(dataset.BitsAllocated)} bits per sample")
    _check_codestream(dataset, limits)
    return height, width


def _check_codestream(dataset: Dataset, limits: DecodeLimits) -> None:
    """Refuse a compressed picture that is larger than it may be, whatever Rows and Columns say."""
    syntax = _transfer_syntax(dataset)
    if has_declaration(syntax):
        samples = declared_samples(b"".join(generate_fragments(dataset.PixelData)), syntax)
        if samples > limits.max_pixels * _MOST_SAMPLES:
            raise RejectedInput("too_many_pixels", f"{samples} samples in the compressed data")


def _infer_bits(dataset: Dataset, pixels: int) -> None:
    """Give a file that omits them the bits its pixels take."""
    if element(dataset, "BitsAllocated") is None:
        stored = int(element(dataset, "BitsStored") or 0)
        size_bytes = len(dataset.PixelData)
        is_wide = stored > 8 or (not _transfer_syntax(dataset).is_compressed and size_bytes >= 2 * pixels)
        dataset.BitsAllocated = 16 if is_wide else 8
    if element(dataset, "BitsStored") is None:
        # The decoders demand both.
        dataset.BitsStored = dataset.BitsAllocated
        dataset.HighBit = dataset.BitsStored - 1


def _grey(dataset: Dataset, long_side_px: int) -> normalise.Grey:
    # Old files omit what the decoders demand.
    photometric = str(element(dataset, "PhotometricInterpretation") or "MONOCHROME2").strip().upper()
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
