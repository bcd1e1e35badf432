"""The things the pipeline speaks of: sites, batches, studies, images, and the states of the work on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_ID = re.compile(r"[0-9a-f]{32}")
_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_id(value: str) -> str:
    """Return ``value`` if it is an id of ours (32 hex digits of a UUID); raise ``ValueError`` if not."""
    if not _ID.fullmatch(value):
        raise ValueError(f"not an id: {value!r}")
    return value


def check_site(value: str) -> str:
    """Return ``value`` if it can name a site (lower-case letters, digits and hyphens); raise ``ValueError`` if not."""
    if not _SITE.fullmatch(value):
        raise ValueError(f"not a site name: {value!r}")
    return value


class Stage(StrEnum):
    """The four steps of the chain, in order."""

    CLASSIFY = "classify"
    DETECT = "detect"
    EXPLAIN = "explain"
    REPORT = "report"

    @property
    def following(self) -> Stage | None:
        """The stage after this one; ``None`` after the last."""
        stages = list(Stage)
        index = stages.index(self) + 1
        return stages[index] if index < len(stages) else None

    @property
    def remaining(self) -> tuple[Stage, ...]:
        """The stage itself and those after it."""
        stages = list(Stage)
        return tuple(stages[stages.index(self) :])


class WorkState(StrEnum):
    """Where the work on a study stands. All but ``OPEN`` are final."""

    OPEN = "open"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"


class Assessment(StrEnum):
    """The decision on an image or a study, from the most to the least urgent to look at."""

    FRACTURE = "fracture"
    SUSPECTED = "suspected"
    INCONCLUSIVE = "inconclusive"
    NO_FRACTURE = "no_fracture"

    @property
    def urgency(self) -> int:
        """0 is the most urgent."""
        return list(Assessment).index(self)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One file of a study as it was received.

    Attributes
    ----------
    number:
        From 1, in the order of receipt; names the image's artifacts.
    file_name:
        What the sender called it. Shown, never used as a path.
    sop_id, examination_id:
        Ids of the UIDs that the file names itself by (:mod:`fractureai.domain.identity`); ``""`` where they are not
        known, as for what is not DICOM.
    """

    number: int
    file_name: str
    size_bytes: int
    sha256: str
    sop_id: str = ""
    examination_id: str = ""

    def __post_init__(self) -> None:
        if self.number < 1 or self.size_bytes < 0 or len(self.sha256) != 64:
            raise ValueError(f"not a source image: {self}")


@dataclass(frozen=True, slots=True)
class Study:
    """One examination: the unit of work, of results and of reports. What is fixed when it is accepted."""

    site: str
    study_id: str
    batch_id: str
    label: str
    accepted_at_s: float
    images: tuple[SourceImage, ...]

    def __post_init__(self) -> None:
        check_site(self.site)
        check_id(self.study_id)
        check_id(self.batch_id)
        if not self.images or [image.number for image in self.images] != list(range(1, len(self.images) + 1)):
            raise ValueError("a study has images numbered from 1")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a batch as it came in, before it is known what studies it holds."""

    number: int
    file_name: str
    size_bytes: int
    sha256: str


class Grouping(StrEnum):
    """What of a batch makes a study, where the files themselves do not say it, as DICOM files do.

    ``FILE``: each file. ``FOLDER``: each folder. ``PATTERN``: what the names share
    (:class:`fractureai.domain.name_pattern.NamePattern`). ``STUDY``: all of it is one study, DICOM files included.
    """

    FILE = "file"
    FOLDER = "folder"
    PATTERN = "pattern"
    STUDY = "study"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one sender handed over at once. Its uploads become studies in the intake task.

    Attributes
    ----------
    pattern:
        With ``Grouping.PATTERN``: of the file names. The ledger does not keep it; ``batch.json`` does.
    """

    site: str
    batch_id: str
    label: str
    accepted_at_s: float
    uploads: tuple[Upload, ...]
    grouping: Grouping = Grouping.FILE
    pattern: str = ""

    def __post_init__(self) -> None:
        check_site(self.site)
        check_id(self.batch_id)
