"""DICOM radiographs in: read the header, refuse what is no single radiograph, decode the pixels."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from dataclasses import replace

import pydicom
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_fragments
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.radiograph import Radiograph
from fractureai.domain.sizes import binary_size
from fractureai.errors import RejectedInput
from fractureai.imaging.body_part import body_part_examined
from fractureai.imaging.dicom_context import read_context
from fractureai.imaging.dicom_header import element, pixel_aspect_of, pixel_spacing_mm, read_header
from fractureai.imaging.dicom_pixels import read_pixels, whole_items
from fractureai.imaging.dicom_scope import refuse_other_objects
from fractureai.imaging.geometry import fit_square
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.text import clean

# pydicom's messages quote the values they stumble on, patient data among them.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
config.settings.reading_validation_mode = config.IGNORE

# What pydicom found out about a file that does not say: (implicit VR, little endian) to transfer syntax.
_ENCODINGS = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"


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
        stored = read_pixels(dataset, limits)
        header = replace(read_header(dataset, syntax), body_part_examined=body_part_examined(dataset))
        pixels = fit_square(stored, pixel_aspect_of(dataset), limits.long_side_px)
        return Radiograph(pixels, *stored.shape, header, pixel_spacing_mm(dataset), read_context(dataset))
    except (RejectedInput, MemoryError):
        raise
    except NotImplementedError as error:
        raise RejectedInput("unsupported_encoding", UID(syntax).name if syntax else "") from error
    except Exception as error:  # pydicom and its plug-ins raise any built-in type on hostile bytes; all mean the same.
        if syntax.startswith("1.2.840.10008.") and syntax not in UID_dictionary:
            raise RejectedInput("unsupported_encoding", clean(syntax)) from error
        raise RejectedInput("damaged", "the DICOM pixel data cannot be decoded") from error


def instance_identity(data: bytes, limits: DecodeLimits) -> InstanceIdentity | None:
    """Which instance the file claims to be; ``None`` if it cannot be parsed."""
    keywords = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality"]
    try:
        dataset, _ = parse(data, limits, only=keywords)
    except RejectedInput:
        return None
    return InstanceIdentity(*(clean(element(dataset, keyword) or "") for keyword in keywords))


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
                dataset = _read(data, only)
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


def _read(data: bytes, only: list[str] | None) -> Dataset:
    """Parse; encapsulated pixels at the end may lack the sequence's delimiter, if every fragment is whole."""
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=only, stop_before_pixels=only is not None)
    except UserWarning as warning:
        if "before delimiter" not in str(warning):
            raise
    dataset = pydicom.dcmread(io.BytesIO(data + _SEQUENCE_DELIMITER), force=True, specific_tags=only)
    dataset.PixelData = whole_items(dataset.PixelData)
    return dataset


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
