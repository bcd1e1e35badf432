"""Images that come in one by one, as DICOM senders send them, until an examination has gone quiet and becomes a study.

An examination is what shares a StudyInstanceUID at a site. When it has been quiet for a while, its images become a
study of the pipeline: its first revision. Images that come later make a further revision, a study of all of them,
which supersedes the one before. Neither UID is kept: ids are derived from them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fractureai.domain.identity import InstanceIdentity, examination_id
from fractureai.domain.study import check_id, check_site

_NAMESPACE = uuid.UUID("6f0c5a39-52f3-4a7e-9a3c-1d0b5f0f7e10")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One instance whose bytes are in the store.

    Attributes
    ----------
    instance_id:
        The same for the same bytes under the same UIDs, and for nothing else: consoles copy SOP Instance UIDs,
        corrected images are sent again under theirs, and images of two patients were seen to share one.
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

    @classmethod
    def of(
        cls,
        identity: InstanceIdentity,
        *,
        site: str,
        arrival_id: str,
        size_bytes: int,
        sha256: str,
        caller: str,
        received_at_s: float,
    ) -> Arrival:
        """The arrival of a file that names itself so."""
        examination = examination_id(site, identity.study_instance_uid)
        instance = uuid.uuid5(_NAMESPACE, f"{examination} {identity.sop_instance_uid} {sha256}").hex
        return cls(
            site, examination, instance, arrival_id, size_bytes, sha256, identity.modality, caller, received_at_s
        )

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
