"""What the ledger answers with: rows as values, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from fractureai.domain.reasons import Reason
from fractureai.domain.study import Assessment, Batch, Stage, Study, Upload, WorkState


class Priority(IntEnum):
    """Who goes first."""

    WALK_IN = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on one stage of one study, won by compare-and-set.

    Attributes
    ----------
    attempt:
        Counted before the work, from 1; it survives the death of the worker.
    setbacks:
        How often the stage was put off because something outside was away; these are no attempts.
    troubled_since_s:
        When the first of them was.
    """

    study: Study
    stage: Stage
    owner: str
    attempt: int
    setbacks: int = 0
    troubled_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class BatchClaim:
    """A lease on the unpacking of one batch; as :class:`Claim`."""

    batch: Batch
    owner: str
    attempt: int
    setbacks: int = 0
    troubled_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """Work the queue should hold but may have lost: publish it (again)."""

    study_id: str
    stage: Stage
    priority: Priority = Priority.BULK


@dataclass(frozen=True, slots=True)
class DueBatch:
    """A batch whose unpacking the queue should hold."""

    batch_id: str
    upload_count: int


@dataclass(frozen=True, slots=True)
class OpenWork:
    """The open studies of one stage, of all sites.

    Attributes
    ----------
    leased:
        How many of them a worker holds.
    waiting_since_s:
        Since when the one of the others waits that has waited longest; ``None`` if none does.
    """

    stage: Stage
    open_studies: int
    leased: int
    waiting_since_s: float | None


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """A process of the installation that has beaten lately.

    Attributes
    ----------
    name:
        Its own in the installation, e.g. ``inference-1@host``.
    pid:
        On its own machine or in its own container.
    age_s:
        Seconds since its last heartbeat.
    """

    name: str
    role: str
    pid: int
    software: str
    age_s: float


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study as lists and status requests show it. The full result lies in the store."""

    site: str
    study_id: str
    batch_id: str
    label: str
    state: WorkState
    stage: Stage | None
    attempts: int
    image_count: int
    accepted_at_s: float
    updated_at_s: float
    finished_at_s: float | None
    assessment: Assessment | None
    region: str | None
    max_fracture_probability: float | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch with the counts of its studies by state.

    ``state`` is ``open`` until the uploads were made into studies, ``failed`` if that could not be done; ``rejected``
    uploads (damaged archives, duplicates) are listed with their reasons. Every file that came is an image of a study,
    rejected, or skipped.

    Attributes
    ----------
    skipped:
        Files that came along in a folder or an archive and are no images, counted by kind.
    """

    site: str
    batch_id: str
    label: str
    state: WorkState
    accepted_at_s: float
    upload_count: int
    counts: dict[WorkState, int]
    rejected_uploads: tuple[tuple[str, Reason], ...]
    reasons: tuple[Reason, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether nothing of the batch is open any more."""
        return self.state is not WorkState.OPEN and not self.counts.get(WorkState.OPEN, 0)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a study's history: what was done when, without patient data."""

    at_s: float
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of the worklist and the cursor of the next one (``None`` at the end)."""

    rows: tuple[StudyRow, ...]
    next_cursor: str | None


class WorklistOrder(StrEnum):
    """How the worklist is sorted.

    ``MOST_SUSPICIOUS``: by :attr:`Assessment.urgency`, within it by the highest probability; what has no assessment
    yet comes last. Equals by time, then id, the newest first, so that either order is total.
    """

    NEWEST = "newest"
    MOST_SUSPICIOUS = "most_suspicious"


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies are asked for: all that fit every part that is given.

    Attributes
    ----------
    accepted_from_s, accepted_to_s:
        From the first on, before the second.
    text:
        Words; each must be the beginning of a word of the study's label, of one of its file names, or of its id
        (:mod:`fractureai.domain.search`). ``""`` for any study.
    """

    batch_id: str | None = None
    state: WorkState | None = None
    assessment: Assessment | None = None
    region: str | None = None
    accepted_from_s: float | None = None
    accepted_to_s: float | None = None
    text: str = ""


ALL_STUDIES = StudyFilter()


@dataclass(frozen=True, slots=True)
class FinishedPage:
    """Studies that became final, in the order in which they did.

    Attributes
    ----------
    next_cursor:
        Where to go on, now or later; ``""`` as long as nothing at all was finished.
    more:
        Whether there are more already.
    """

    rows: tuple[StudyRow, ...]
    next_cursor: str
    more: bool = False


class Agreement(StrEnum):
    """What a reader thinks of an assessment."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reader's own word on a study. A study may have several; the last of a reader counts.

    Attributes
    ----------
    reader:
        What the reader calls themselves; ``""`` if nobody asked.
    assessment, region:
        What the reader would have said instead.
    """

    study_id: str
    at_s: float
    reader: str
    agreement: Agreement
    assessment: Assessment | None = None
    region: str | None = None
    comment: str = ""


REQUEST_KEPT_S = 24 * 3600.0
"""How long a request's key is remembered."""


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request whose sender wants it done once, however often it is sent (``Idempotency-Key``).

    Attributes
    ----------
    fingerprint:
        Of what was asked; the same key with another one is a mistake of the sender.
    answer:
        What the sender is told, then and every time again.
    """

    site: str
    key: str
    fingerprint: str
    answer: str
    at_s: float


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that is sent file by file and is not complete yet, with what has arrived of it."""

    site: str
    batch_id: str
    begun_at_s: float
    arrived: tuple[Upload, ...]


class DeliveryState(StrEnum):
    """How far the news of a finished study has come. ``SUPERSEDED``: nobody is to have it, for there is newer."""

    OPEN = "open"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    SUPERSEDED = "superseded"


class Channel(StrEnum):
    """How somebody is told of a finished study."""

    WEBHOOK = "webhook"
    DICOM = "dicom"
    FHIR = "fhir"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told of finished studies.

    Attributes
    ----------
    destination:
        The peer's name: lower-case letters, digits and hyphens, 24 at most; ``""`` where a channel has one only.
    site:
        Whose studies; ``None``: everybody's.
    only_done:
        Whether it is told of studies with a result only, and not of rejected and failed ones.
    """

    channel: Channel
    destination: str = ""
    site: str | None = None
    only_done: bool = False

    def wants(self, site: str, state: WorkState) -> bool:
        """Whether it is told of a study that ended so."""
        return self.site in {None, site} and (state is WorkState.DONE or not self.only_done)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A finished study, on its way to whoever wants to be told or to have its results.

    Attributes
    ----------
    delivery_id:
        The study's id, the number of its finish (a study tried again is delivered again) and the destination.
    last_error:
        Why the last attempt failed, without an address or a secret.
    """

    delivery_id: str
    site: str
    study_id: str
    state: DeliveryState
    attempts: int
    created_at_s: float
    due_at_s: float
    last_error: str = ""
    channel: Channel = Channel.WEBHOOK
    destination: str = ""


class ObjectState(StrEnum):
    """How far one object of a delivery has come. ``STORED``: the peer said so. ``VERIFIED``: it was found there.
    ``REFUSED``: not taken, this time. ``REJECTED``: not taken, and never will be (:mod:`fractureai.domain.refusals`).
    """

    STORED = "stored"
    VERIFIED = "verified"
    REFUSED = "refused"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class DeliveredObject:
    """What became of one object of a delivery that is made of several; ``detail`` is the peer's status or reason."""

    name: str
    state: ObjectState
    detail: str = ""
