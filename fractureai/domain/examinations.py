"""Images that come in one by one, as DICOM senders send them, until an examination has gone quiet and becomes a study.

An examination is what shares a StudyInstanceUID at a site. When it has been quiet for a while, its images become a
study of the pipeline: its first revision. Images that come later make a further revision, a study of all of them,
which supersedes the one before. Neither UID is kept: ids are derived from them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fractureai.domain.study import check_id, check_site

_NAMESPACE = uuid.UUID("b1f6a7f2-1a53-4d7e-8d35-5c0a4f0f7e55")


def examination_id(site: str, study_instance_uid: str) -> str:
    """The id of an examination: the same for the same site and StudyInstanceUID."""
    return uuid.uuid5(_NAMESPACE, f"{check_site(site)} study {study_instance_uid}").hex


def instance_id(site: str, sop_instance_uid: str) -> str:
    """The id of an instance: the same for the same site and SOPInstanceUID."""
    return uuid.uuid5(_NAMESPACE, f"{check_site(site)} instance {sop_instance_uid}").hex


@dataclass(frozen=True, slots=True)
class InstanceIdentity:
    """Which instance a file is, and of which examination; the UIDs as the sender wrote them, each checked to be one."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    modality: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """One instance whose bytes are in the store.

    Attributes
    ----------
    arrival_id:
        Random; names the object.
    modality:
        As the header says (``CR``, ``DX``); ``""`` if it says nothing.
    caller:
        The AE title it came from.
    """

    site: str
    examination_id: str
    instance_id: str
    arrival_id: str
    size_bytes: int
    sha256: str
    modality: str
    caller: str
    received_at_s: float

    def __post_init__(self) -> None:
        check_site(self.site)
        for value in (self.examination_id, self.instance_id, self.arrival_id):
            check_id(value)


@dataclass(frozen=True, slots=True)
class Quiet:
    """When an examination is complete, as far as anybody can know: DICOM has no last image.

    Attributes
    ----------
    after_s:
        This long after its last image.
    at_most_s:
        This long after its first one, however many keep coming.
    """

    after_s: float = 30.0
    at_most_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Closing:
    """An examination that is becoming a study; the same answer however often it is asked for.

    Attributes
    ----------
    number:
        Of the revision, from 1.
    images:
        All of them, those of earlier revisions first.
    supersedes:
        The study of the revision before, if its images are among these.
    """

    site: str
    examination_id: str
    number: int
    batch_id: str
    study_id: str
    images: tuple[Arrival, ...]
    supersedes: str | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """The place of a study among the studies of its examination."""

    number: int
    supersedes: str | None
    superseded_by: str | None
