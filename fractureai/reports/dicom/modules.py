"""The modules that every result has: patient and study as in the source, series, equipment, SOP common."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property

from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Study
from fractureai.reports.dicom.codes import PROCESSING_EQUIPMENT, code
from fractureai.reports.dicom.encoding import Elements, elements
from fractureai.reports.dicom.source import SourceStudy
from fractureai.reports.dicom.uids import basis_of, uid
from fractureai.reports.wording import PRODUCT

MODEL_NAME = "FractureAI reader"
_DESCRIPTIONS = {
    DicomKind.SR: "AI result, structured",
    DicomKind.OVERLAY: "AI marked view",
    DicomKind.SUMMARY: "AI result, summary",
    DicomKind.GSPS: "AI region of interest",
    DicomKind.PDF: "AI report",
}
_SERIES_NUMBER = {kind: 9701 + place for place, kind in enumerate(DicomKind)}
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_LONG_STRING = 64


@dataclass(frozen=True)
class Frame:
    """What the objects of one study share."""

    study: Study
    result: StudyResult
    source: SourceStudy
    basis: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "basis", basis_of(self.study, self.result))

    @cached_property
    def at(self) -> datetime:
        """When the study was received, in the source's time zone if it names one, else in UTC."""
        found = _OFFSET.fullmatch(self.source.images[0].text("TimezoneOffsetFromUTC").strip())
        offset = timedelta()
        if found:
            sign, hours, minutes = found.groups()
            offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        zone = timezone(offset) if abs(offset) < timedelta(hours=24) else UTC
        return datetime.fromtimestamp(self.study.accepted_at_s, zone)

    @property
    def date(self) -> str:
        """``YYYYMMDD``."""
        return f"{self.at:%Y%m%d}"

    @property
    def time(self) -> str:
        """``HHMMSS``."""
        return f"{self.at:%H%M%S}"

    @cached_property
    def device_uid(self) -> str:
        """Of the whole system: another with every change of the software or of any model's weights."""
        models = sorted(f"{model.name} {model.version} {model.card_sha256}" for model in self.result.models)
        return uid("device", self.result.software_version, *models)

    @cached_property
    def equipment(self) -> Elements:
        """General and Enhanced General Equipment, and Contributing Equipment (IHE AI Results)."""
        versions = [self.result.software_version, *(f"{model.name} {model.version}" for model in self.result.models)]
        whole = _equipment(MODEL_NAME, versions, self.device_uid, "Assessed the images and wrote the results")
        parts = [
            _equipment(
                model.name,
                [model.version],
                uid("device", model.name, model.version, model.card_sha256),
                f"Model, card sha256 {model.card_sha256[:12]}",
            )
            for model in self.result.models
        ]
        return elements(
            Manufacturer=PRODUCT,
            ManufacturerModelName=MODEL_NAME,
            DeviceSerialNumber=self.device_uid.removeprefix("2.25."),
            SoftwareVersions=[text(version) for version in versions],
            ContributingEquipmentSequence=[whole, *parts],
        )

    def object_of(self, kind: DicomKind, sop_class_uid: str, number: int | None = None) -> DicomObject:
        """The identity of a result."""
        return DicomObject(
            kind=kind,
            number=number,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=uid("object", self.basis, self.source.uid, kind, number),
            series_instance_uid=uid("series", self.basis, self.source.uid, kind),
            study_instance_uid=self.source.uid,
        )

    def common(self, what: DicomObject, modality: str) -> list[Elements]:
        """All that is the same in every kind of object."""
        is_document = what.kind in {DicomKind.SR, DicomKind.PDF}
        return [
            self.source.patient_and_study,
            {} if is_document else self._part_of_the_body(what.number),
            {} if what.kind is DicomKind.GSPS else elements(ContentDate=self.date, ContentTime=self.time),
            self.equipment,
            elements(
                SOPClassUID=what.sop_class_uid,
                SOPInstanceUID=what.sop_instance_uid,
                InstanceCreationDate=self.date,
                InstanceCreationTime=self.time,
                InstanceNumber=what.number or 1,
                Modality=modality,
                SeriesInstanceUID=what.series_instance_uid,
                SeriesNumber=_SERIES_NUMBER[what.kind],
                SeriesDate=self.date,
                SeriesTime=self.time,
                SeriesDescription=f"{_DESCRIPTIONS[what.kind]} - not for diagnostic use",
            ),
        ]

    def _part_of_the_body(self, number: int | None) -> Elements:
        """What the image shown, or all of them, say of part and side; the side is empty where they do not."""
        shown = [image for image in self.source.images if number in (None, image.number)]
        parts = {image.text("BodyPartExamined") for image in shown}
        sides = {image.text("ImageLaterality") or image.text("Laterality") for image in shown}
        side = sides.pop() if len(sides) == 1 else ""
        found = elements(Laterality=side if side in {"L", "R"} else None)
        part = parts.pop() if len(parts) == 1 else ""
        return found | elements(BodyPartExamined=part) if re.fullmatch("[A-Z0-9 _]{1,16}", part) else found


def text(value: str, limit: int = _LONG_STRING) -> str:
    """ASCII of at most ``limit`` characters, safe beside any character set."""
    kept = "".join(char if " " <= char <= "~" and char != "\\" else "?" for char in value)
    return kept[:limit].strip()


def _equipment(model: str, versions: list[str], device_uid: str, description: str) -> Elements:
    return elements(
        Manufacturer=PRODUCT,
        ManufacturerModelName=text(model),
        DeviceUID=device_uid,
        SoftwareVersions=[text(version) for version in versions],
        ContributionDescription=text(description, 1024),
        PurposeOfReferenceCodeSequence=[code(PROCESSING_EQUIPMENT)],
    )
