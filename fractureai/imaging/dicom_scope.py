"""Which DICOM objects are radiographs, and the refusal of the others by what they are."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.uid import UID

from fractureai.errors import RejectedInput
from fractureai.imaging.dicom_header import element

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
_DIRECTORY = "1.2.840.10008.1.3.10"
# Defined terms, and what some makers write instead.
_RADIOGRAPHY_MODALITIES = frozenset({"CR", "DX", "RG", "RF", "DR", "XR", "DF"})
# What a secondary capture of a radiograph is labelled with, if at all.
_CAPTURE_MODALITIES = _RADIOGRAPHY_MODALITIES | {"OT", "SC", ""}
# How our own results name their maker; the phantoms, which are radiographs, are not secondary captures.
_OWN_MAKER = "FractureAI"


def refuse_other_objects(dataset: Dataset) -> None:
    """Raise ``RejectedInput`` unless the object is an image of a kind that can be a radiograph.

    Raises
    ------
    RejectedInput
        ``not_a_radiograph`` or ``no_pixels`` with what it is, ``dicom_directory``, or ``own_result``: an archive that
        forwards what it receives would otherwise have our results read as new images.
    """
    sop_class = str(element(dataset, "SOPClassUID") or "")
    modality = str(element(dataset, "Modality") or "").strip().upper()
    if sop_class == _DIRECTORY or (sop_class == "" and "DirectoryRecordSequence" in dataset):
        raise RejectedInput("dicom_directory")
    if sop_class in _SECONDARY_CAPTURE and element(dataset, "SecondaryCaptureDeviceManufacturer") == _OWN_MAKER:
        raise RejectedInput("own_result")
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
