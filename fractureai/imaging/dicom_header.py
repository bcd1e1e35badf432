"""The few values of a DICOM header that travel on, made safe to show and to write."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from fractureai.domain.radiograph import Header
from fractureai.imaging import media
from fractureai.imaging.character_sets import Trust
from fractureai.imaging.dicom_text import TEXT_VRS, HeaderText
from fractureai.imaging.geometry import pixel_aspect
from fractureai.imaging.text import clean

_KEYWORDS: dict[str, str] = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "accession_number": "AccessionNumber",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_description": "StudyDescription",
    "modality": "Modality",
    "manufacturer": "Manufacturer",
    "institution_name": "InstitutionName",
    "referring_physician_name": "ReferringPhysicianName",
    "body_part_examined": "BodyPartExamined",
    "view_position": "ViewPosition",
    "photometric_interpretation": "PhotometricInterpretation",
    "burned_in_annotation": "BurnedInAnnotation",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "presentation_intent_type": "PresentationIntentType",
    "irradiation_event_uid": "IrradiationEventUID",
    "acquisition_number": "AcquisitionNumber",
    "acquisition_date": "AcquisitionDate",
    "acquisition_time": "AcquisitionTime",
}

# What is said of text whose character set is not the declared one: codes of reasons.
_NOTES = {Trust.GUESSED: "text_guessed", Trust.UNDECODED: "text_undecoded"}

# On the plane of the detector or, last, of the digitised film; only the first is calibrated.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def element(dataset: Dataset, keyword: str) -> Any:
    """One element's value, ``None`` where it is absent, empty or cannot be read: pydicom converts on access.

    Nor is a sequence read where none belongs: nested ones take pydicom for ever to write as text.
    """
    with contextlib.suppress(Exception):
        value = dataset.get(keyword)
        is_out_of_place = isinstance(value, Sequence) and dictionary_VR(keyword) != "SQ"
        return None if is_out_of_place or value == "" else value
    return None


def read_header(dataset: Dataset, transfer_syntax_uid: str) -> Header:
    """Fill a :class:`Header`; what is missing or unreadable is empty."""
    text = HeaderText(dataset)
    found = {name: _value(dataset, keyword, text) for name, keyword in _KEYWORDS.items()}
    laterality = _text(element(dataset, "ImageLaterality")) or _text(element(dataset, "Laterality"))
    return Header(
        media.DICOM,
        transfer_syntax_uid=clean(transfer_syntax_uid),
        laterality=laterality,
        text_note=_NOTES.get(text.trust, ""),
        patient_orientation=_orientation(element(dataset, "PatientOrientation")),
        source_image_uid=_source_uid(dataset),
        **found,
    )


def _orientation(value: Any) -> str:
    """Where rows and columns point to, as in the file: left and feet, say (PS3.3 section C.7.6.1.1.1)."""
    with contextlib.suppress(TypeError):
        parts = [str(part).strip().upper() for part in value]
        if len(parts) == 2 and all(part and set(part) <= set("ARLPFHS/I") for part in parts):
            return "\\".join(parts)
    return ""


def _source_uid(dataset: Dataset) -> str:
    """The SOP Instance UID of the image this one was made of, the first if there are several."""
    with contextlib.suppress(Exception):  # a sequence of anything: pydicom raises any type then
        return _text(element(dataset.SourceImageSequence[0], "ReferencedSOPInstanceUID"))
    return ""


def pixel_spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    """Row and column spacing of the first attribute that gives two positive, finite numbers."""
    for keyword in _SPACINGS:
        with contextlib.suppress(TypeError, ValueError, IndexError):
            row_mm, column_mm = (float(value) for value in element(dataset, keyword))
            if row_mm > 0 and column_mm > 0 and math.isfinite(row_mm * column_mm):
                return row_mm, column_mm
    return None


def pixel_aspect_of(dataset: Dataset) -> float:
    """Height of a pixel divided by its width, by its spacing or else by the aspect ratio; 1 where nothing says."""
    spacing = pixel_spacing_mm(dataset)
    if spacing is None:
        with contextlib.suppress(TypeError, ValueError, IndexError):
            vertical, horizontal = (float(value) for value in element(dataset, "PixelAspectRatio"))
            spacing = (vertical, horizontal) if vertical > 0 and horizontal > 0 else None
    return pixel_aspect(*spacing) if spacing else 1.0


def _value(dataset: Dataset, keyword: str, text: HeaderText) -> str:
    vr = dictionary_VR(keyword)
    if vr not in TEXT_VRS:
        return _text(element(dataset, keyword))
    value = text.value(keyword)
    return clean(_readable(value) if vr == "PN" else ", ".join(part.strip() for part in value.split("\\")))


def _text(value: Any) -> str:
    if value is None:
        return ""
    with contextlib.suppress(Exception):
        if isinstance(value, MultiValue):
            return clean(", ".join(str(part) for part in value))
        return clean(value)
    return ""


def _readable(name: str) -> str:
    """``Family, Given Middle``, with the ideographic form in brackets (PS3.5 section 6.2.1)."""
    latin, ideographic, *_ = [_group(group) for group in (name.split("\\")[0] + "=").split("=")]
    if latin and ideographic and latin != ideographic:
        return f"{latin} ({ideographic})"
    return latin or ideographic


def _group(group: str) -> str:
    family, given, middle, prefix, suffix = (part.strip() for part in (group.split("^") + [""] * 5)[:5])
    rest = " ".join(part for part in (prefix, given, middle, suffix) if part)
    return ", ".join(part for part in (family, rest) if part)
