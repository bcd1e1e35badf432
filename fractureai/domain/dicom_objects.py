"""The DICOM objects a finished study is given back as, by kind; ``keys.dicom_object`` says where each lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_NAME = re.compile(r"([a-z]+)(?:-([1-9][0-9]{0,4}))?")


class DicomKind(StrEnum):
    """What a DICOM result is. Each kind is a series of its own in the source's study."""

    SR = "sr"
    """Comprehensive 3D SR, TID 1500: every finding, for machines. One a study."""

    OVERLAY = "overlay"
    """Secondary Capture: a view with attention and region of interest. One an assessed view."""

    SUMMARY = "summary"
    """Secondary Capture: the study's result as a page. One a study."""

    GSPS = "gsps"
    """Grayscale Softcopy Presentation State: the region of interest on the original. One a view that has one."""

    PDF = "pdf"
    """Encapsulated PDF: the report. One a study."""


@dataclass(frozen=True, slots=True)
class DicomObject:
    """One DICOM result, as ``result.json`` lists it.

    Attributes
    ----------
    number:
        The image it is about; ``None`` where it is about the study.
    """

    kind: DicomKind
    number: int | None
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str

    @property
    def name(self) -> str:
        """Unique in its study: ``sr``, ``overlay-2``."""
        return object_name(self.kind, self.number)

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``result.json``."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "number": self.number,
            "sop_class_uid": self.sop_class_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "series_instance_uid": self.series_instance_uid,
            "study_instance_uid": self.study_instance_uid,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DicomObject:
        """Read what :meth:`to_json` wrote."""
        return cls(
            kind=DicomKind(data["kind"]),
            number=data["number"],
            sop_class_uid=data["sop_class_uid"],
            sop_instance_uid=data["sop_instance_uid"],
            series_instance_uid=data["series_instance_uid"],
            study_instance_uid=data["study_instance_uid"],
        )


def object_name(kind: DicomKind, number: int | None = None) -> str:
    """See :attr:`DicomObject.name`."""
    return kind.value if number is None else f"{kind}-{number}"


def check_object_name(name: str) -> str:
    """Return ``name`` if an object can have it; raise ``ValueError`` if not."""
    found = _NAME.fullmatch(name)
    if not found or found[1] not in set(DicomKind):
        raise ValueError(f"not the name of a DICOM result: {name!r}")
    return name
