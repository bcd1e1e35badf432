"""The sources as far as results in their study need them, read from what ``classify`` kept of their headers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fractureai.domain.dicom_attributes import PATIENT_AND_STUDY
from fractureai.domain.ports import ReportImage
from fractureai.domain.reasons import AMBIGUOUS_UIDS, Reason
from fractureai.reports.dicom.encoding import Elements, as_tag, copied, elements

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")

_PATIENT_AND_STUDY = tuple(as_tag(keyword) for keyword in PATIENT_AND_STUDY)
# Type 2: they may be empty, but not missing.
_REQUIRED = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
]


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """One DICOM image of the study.

    Attributes
    ----------
    header:
        What was kept of the image's header.
    is_citable:
        Whether no other picture has the SOP Instance UID, so that results may refer to it.
    """

    number: int
    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_uid: str
    header: Dataset = field(repr=False)
    is_citable: bool = True

    @property
    def reference(self) -> Elements:
        """An item of a sequence that refers to the image."""
        return elements(ReferencedSOPClassUID=self.sop_class_uid, ReferencedSOPInstanceUID=self.sop_uid)

    def text(self, keyword: str) -> str:
        """An element's value as text, ``""`` where it is absent or cannot be read."""
        return str(value_of(self.header, keyword) or "")


@dataclass(frozen=True, slots=True, eq=False)
class SourceStudy:
    """The DICOM study that results go into.

    Attributes
    ----------
    images:
        Those that count as views.
    patient_and_study:
        The modules of the first image that names the patient by ID, else in the first, with empty values
        where one must not be missing.
    """

    uid: str
    images: tuple[SourceImage, ...]
    patient_and_study: Elements = field(repr=False)

    @property
    def citable(self) -> tuple[SourceImage, ...]:
        """The images that results may refer to."""
        return tuple(image for image in self.images if image.is_citable)

    def image(self, number: int) -> SourceImage | None:
        """An image by its number; ``None`` if it did not come as DICOM."""
        return next((image for image in self.images if image.number == number), None)


def source_study(images: Sequence[ReportImage]) -> SourceStudy | Reason:
    """The study the images came in, or why there is none to put results into."""
    views = [image for image in images if not image.result.set_aside]
    found = [source for image in views if (source := _source(image)) is not None]
    if not found:
        return Reason("no_dicom_source")
    if len({image.study_uid for image in found}) > 1:
        return Reason("dicom_conflict")
    telling = next((image for image in found if image.text("PatientID").strip()), found[0])
    kept = copied(telling.header, _PATIENT_AND_STUDY)
    return SourceStudy(found[0].study_uid, tuple(found), elements(**dict.fromkeys(_REQUIRED)) | kept)


def value_of(header: Dataset, keyword: str) -> Any:
    """An element's value; ``None`` where it is absent, empty or cannot be read: pydicom converts on access."""
    try:
        value = header.get(keyword)
    except Exception:  # any type on an odd header; the value is then as good as absent
        return None
    return None if value == "" else value


def _source(image: ReportImage) -> SourceImage | None:
    if not image.dicom_context:
        return None
    header = read_dataset(BytesIO(image.dicom_context), False, True)
    uids = [
        str(value_of(header, keyword) or "")
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
    ]
    if not all(len(uid) <= 64 and _UID.fullmatch(uid) for uid in uids):
        return None
    study, series, sop_class, sop = uids
    is_citable = not any(reason.code in AMBIGUOUS_UIDS for reason in image.result.finding.reasons)
    return SourceImage(image.result.number, study, series, sop_class, sop, header, is_citable)
