"""Small DICOM radiographs that name themselves as a test wants."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import pydicom

from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render

STUDY, OTHER_STUDY = "1.2.826.0.1.3680043.10.1.7", "1.2.826.0.1.3680043.10.1.8"


@cache
def _phantom(picture: int) -> bytes:
    phantom = render(PhantomSpec("hand", "frontal", fractured=False, seed=picture, height_px=160, width_px=128))
    return to_dicom(phantom, study_uid=STUDY, series_uid=f"{STUDY}.1", sop_uid=f"{STUDY}.1.1")


def radiograph(picture: int = 1, **attributes: Any) -> bytes:
    """A radiograph of a hand. ``picture`` is what it shows; all show the same patient, study and instance.

    ``attributes`` by DICOM keyword; ``None`` removes one.
    """
    dataset = pydicom.dcmread(io.BytesIO(_phantom(picture)))
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "PID-42", "Doe^Jane", "19700131"
    dataset.AccessionNumber = "A-1"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "")
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()
