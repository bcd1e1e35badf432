"""A decoded radiograph and what its header says, in values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says about itself. Every field is text as found, trimmed; empty where the file is silent.

    Names are DICOM keywords in snake case, but for ``text_note``: the code of a reason, where text is not certain to be
    what was meant. Only DICOM files fill more than ``media_type``. This is patient data: it
    goes into artifacts and reports, never into logs, messages or error texts.
    """

    media_type: str
    patient_name: str = ""
    patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    patient_age: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    modality: str = ""
    manufacturer: str = ""
    institution_name: str = ""
    referring_physician_name: str = ""
    body_part_examined: str = ""
    view_position: str = ""
    patient_orientation: str = ""
    laterality: str = ""
    photometric_interpretation: str = ""
    burned_in_annotation: str = ""
    issuer_of_patient_id: str = ""
    presentation_intent_type: str = ""
    source_image_uid: str = ""
    irradiation_event_uid: str = ""
    acquisition_number: str = ""
    acquisition_date: str = ""
    acquisition_time: str = ""
    text_note: str = ""

    def to_json(self) -> dict[str, str]:
        """All fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Header:
        """Read what :meth:`to_json` wrote; keys of later versions are ignored."""
        known = {item.name for item in fields(cls)}
        return cls(**{key: str(value) for key, value in data.items() if key in known})


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One radiograph as the stages work on it.

    Attributes
    ----------
    pixels:
        ``(H, W)`` uint8, bones bright, of square pixels: the source image shrunk so that its long side is at most the
        decoder's limit (1024 px by default). Only the coarser side of oblong pixels is ever enlarged.
    source_height_px, source_width_px:
        Extent of the source image; boxes are given on its grid.
    pixel_spacing_mm:
        ``(row, column)`` spacing of the source grid where the header gives a positive one.
    dicom_context:
        What results in the same DICOM study need of the header, as a small data set in Explicit VR Little Endian;
        empty for other files. Patient data, like the header.
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False)
    source_height_px: int
    source_width_px: int
    header: Header
    pixel_spacing_mm: tuple[float, float] | None = None
    dicom_context: bytes = field(default=b"", repr=False)
