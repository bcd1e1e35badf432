"""What the stages and the web need of the ledger, in the parts it has. Contract tests hold every ledger to this.

Every method is one transaction; all raise ``TransientFailure('ledger_unavailable')``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fractureai.domain.access import AccessLedger
from fractureai.domain.audit import AuditLedger
from fractureai.domain.examinations import Arrival, Closing, Quiet, Revision
from fractureai.domain.identity import KnownImage
from fractureai.domain.reasons import Reason
from fractureai.domain.records import (
    ALL_STUDIES,
    BatchClaim,
    BatchRow,
    Claim,
    DeliveredObject,
    Delivery,
    Due,
    DueBatch,
    Event,
    FinishedPage,
    KeyedRequest,
    OpenUpload,
    OpenWork,
    Page,
    Priority,
    StudyFilter,
    StudyRow,
    Subscriber,
    Verdict,
    WorklistOrder,
)
from fractureai.domain.retention import RetentionLedger
from fractureai.domain.study import Assessment, Batch, Stage, Study, Upload, WorkState


class IntakeLedger(Protocol):
    """How work comes in."""

    def accept_batch(
        self, batch: Batch, *, publish_due_at_s: float, request: KeyedRequest | None = None
    ) -> KeyedRequest | None:
        """Record a batch to be unpacked. Idempotent by ``batch_id``.

        Returns
        -------
        The request that had the same key before, if there is one: then nothing was recorded.
        """

    def accept_study(
        self, study: Study, *, publish_due_at_s: float, request: KeyedRequest | None = None
    ) -> KeyedRequest | None:
        """Record a study (and, if it is new, its batch as unpacked) open at the first stage. Idempotent by id.

        Returns
        -------
        As :meth:`accept_batch`.
        """

    def earlier_request(self, key: str, *, site: str, now_s: float) -> KeyedRequest | None:
        """The request that came with this key in the last ``REQUEST_KEPT_S``."""

    def forget_requests(self, *, before_s: float) -> int:
        """Forget keys that came before; returns how many."""

    def claim_batch(self, batch_id: str, *, owner: str, now_s: float, lease_s: float) -> BatchClaim | None:
        """Lease the unpacking; ``None`` if it is done, or somebody else holds it."""

    def unpacked(
        self,
        claim: BatchClaim,
        studies: Sequence[Study],
        rejected: Sequence[tuple[str, Reason]],
        *,
        now_s: float,
        priority: Priority = Priority.BULK,
    ) -> bool:
        """Record the studies of a batch, due at once, and close its unpacking. ``False`` if the lease was lost.
        Bulk takes turns with the bulk of other batches.
        """

    def fail_batch(self, claim: BatchClaim, reason: Reason, *, now_s: float) -> bool:
        """Close the unpacking as failed."""

    def retry_batch(self, claim: BatchClaim, *, now_s: float, due_at_s: float, counts: bool = True) -> bool:
        """As :meth:`WorkLedger.retry`."""

    def renew_batch(self, claim: BatchClaim, *, until_s: float) -> bool:
        """As :meth:`WorkLedger.renew`."""

    def batches_to_clean(self, *, unpacked_before_s: float, limit: int) -> list[Batch]:
        """Batches that were unpacked by then and whose uploads may still lie in the store."""

    def cleaned(self, batch_id: str) -> None:
        """The uploads of a batch are gone from the store."""


class UploadLedger(Protocol):
    """Uploads that are sent file by file, until they are complete."""

    def begin_upload(self, batch_id: str, *, site: str, now_s: float) -> None:
        """Record that an upload has begun."""

    def begin_receiving(self, subject_id: str, *, site: str, now_s: float) -> None:
        """Record, before the first byte is stored, under which id a study or batch is being received. Accepting it
        forgets that; what a crash left instead is listed by :meth:`expire_uploads`.
        """

    def arrived(self, batch_id: str, upload: Upload, *, site: str, now_s: float) -> bool:
        """Record a file, in the place of one with its number. ``False`` if the upload has expired."""

    def open_upload(self, batch_id: str, *, site: str) -> OpenUpload | None:
        """An upload that is not complete; ``None`` if there is none at this site."""

    def complete_upload(self, batch: Batch, *, publish_due_at_s: float) -> bool:
        """Record the batch an upload has become; ``False``, and nothing recorded, if the upload has expired."""

    def expire_uploads(self, *, touched_before_s: float, limit: int) -> list[tuple[str, str]]:
        """Close uploads that nothing was added to since then, and list ``(site, batch_id)`` of all that are closed:
        what they brought can be deleted.
        """

    def forget_upload(self, batch_id: str) -> None:
        """Forget an expired upload whose files are gone."""


class WorkLedger(Protocol):
    """The work on studies: leases, and what becomes of them."""

    def claim(self, study_id: str, stage: Stage, *, owner: str, now_s: float, lease_s: float) -> Claim | None:
        """Lease one stage, counting the attempt. ``None`` if the study is elsewhere, final, or leased by another."""

    def renew(self, claim: Claim, *, until_s: float) -> bool:
        """Hold the lease longer; ``False`` if it was lost."""

    def advance(self, claim: Claim, *, now_s: float, due_at_s: float) -> bool:
        """The stage is done; the next one is open, to be published if nothing has moved by ``due_at_s``.
        ``False`` if the lease was lost: then do nothing more.
        """

    def finish(
        self,
        claim: Claim,
        state: WorkState,
        *,
        now_s: float,
        assessment: Assessment | None,
        region: str | None,
        max_fracture_probability: float | None,
        reasons: Sequence[Reason],
    ) -> bool:
        """Close the study for good. ``False`` if the lease was lost."""

    def retry(self, claim: Claim, reason: Reason, *, now_s: float, due_at_s: float, counts: bool = True) -> bool:
        """Give the lease back after a failure; nobody can take it before ``due_at_s``. If it does not count, the
        attempt is given back too, and counted as a setback.
        """

    def reopen(self, study_id: str, *, site: str, now_s: float) -> bool:
        """A person wants a failed study tried again, from its first unfinished stage, with a fresh count."""

    def reopen_batch(self, batch_id: str, *, site: str, now_s: float) -> int:
        """The same for all failed studies of a batch, and for its unpacking; returns how many were opened again."""

    def due_studies(self, *, now_s: float, limit: int) -> list[Due]:
        """Open studies, not leased, whose time has come, in the order to publish them: walk-ins in the order they came,
        then bulk, batch by batch in turn. Asks only for what is open.
        """

    def lost_studies(
        self, *, now_s: float, due_before_s: Mapping[tuple[Stage, Priority], float], limit: int
    ) -> list[Due]:
        """Open studies, not leased, not due yet, but due before the time given for their stage and priority: what was
        published so long ago that its message must have been taken.
        """

    def due_batches(self, *, now_s: float, due_before_s: float, limit: int) -> list[DueBatch]:
        """Batches, not leased, whose unpacking was to be published before ``due_before_s``, longest due first."""

    def lead(self, name: str, owner: str, *, now_s: float, lease_s: float) -> bool:
        """Take or keep the lead among those who could do the same; ``False`` if somebody else has it."""

    def resign(self, name: str, owner: str) -> None:
        """Give the lead back, if it is held."""

    def pull_forward(self, *, now_s: float, beyond_s: float) -> int:
        """Make due now whatever is open and put off beyond ``beyond_s``, later than any wait there is: a clock was set
        back. Returns how many.
        """

    def make_due(self, *, now_s: float) -> int:
        """Make due now everything open that no worker holds, waits included. Returns how many."""

    def published(self, study_ids: Sequence[str], *, now_s: float, due_again_at_s: float) -> None:
        """Messages were sent; look again at ``due_again_at_s`` if nothing has moved by then. What somebody took before
        this was recorded keeps the time of its lease.
        """

    def published_batch(self, batch_id: str, *, now_s: float, due_again_at_s: float) -> None:
        """The same for a batch."""


class ReadingLedger(Protocol):
    """What people and machines ask, and what people say to it."""

    def study(self, study_id: str, *, site: str) -> StudyRow | None:
        """One row; ``None`` if there is none at this site."""

    def sources(self, study_id: str, *, site: str) -> Study | None:
        """What was accepted, with its files; ``None`` if there is none at this site."""

    def batch(self, batch_id: str, *, site: str) -> BatchRow | None:
        """One batch with counts; ``None`` if there is none at this site."""

    def studies(
        self,
        *,
        site: str,
        which: StudyFilter = ALL_STUDIES,
        order: WorklistOrder = WorklistOrder.NEWEST,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """A page of the worklist; a cursor goes on with the order it came from. Raises ``ValueError`` if it is none."""

    def finished_since(self, *, site: str, cursor: str, limit: int) -> FinishedPage:
        """Everything that became final after ``cursor`` (``""``: ever), in that order, and never one too few: a study
        becomes final and gets its place in one transaction, and places are visible in their order. A study that was
        tried again comes again; a cursor of another ledger starts from the beginning.
        """

    def history(self, study_id: str, *, site: str) -> list[Event]:
        """What was done when, oldest first."""

    def open_count(self) -> int:
        """How many studies are open, over all sites."""

    def open_work(self, *, now_s: float) -> list[OpenWork]:
        """What is open at each stage that has open studies; asks for what is open only."""

    def add_verdict(self, verdict: Verdict, *, site: str) -> bool:
        """Keep a reader's word; ``False`` if there is no such study at this site."""

    def verdicts(self, study_id: str, *, site: str) -> list[Verdict]:
        """What readers said of a study, oldest first."""


class Outbox(Protocol):
    """The news of finished studies, one delivery each, recorded in the transaction that finishes the study."""

    def due_deliveries(self, *, now_s: float, limit: int) -> list[str]:
        """Deliveries whose time has come, longest due first."""

    def published_deliveries(self, delivery_ids: Sequence[str], *, now_s: float, due_again_at_s: float) -> None:
        """Messages were sent for what was due at ``now_s``; look again then."""

    def pull_deliveries_forward(self, *, now_s: float, beyond_s: float, put_off_beyond_s: float) -> int:
        """As :meth:`WorkLedger.pull_forward`; what waits after an attempt that failed has a bound of its own."""

    def claim_delivery(self, delivery_id: str, *, now_s: float, lease_s: float) -> Delivery | None:
        """Lease it, counting the attempt; ``None`` if it is over, or somebody else holds it."""

    def renew_delivery(self, delivery: Delivery, *, until_s: float) -> bool:
        """As :meth:`WorkLedger.renew`."""

    def delivered(self, delivery: Delivery, *, now_s: float) -> None:
        """It was taken."""

    def postpone_delivery(self, delivery: Delivery, error: str, *, due_at_s: float) -> None:
        """It was not taken; try again then."""

    def give_up_delivery(self, delivery: Delivery, error: str, *, now_s: float) -> None:
        """It was not taken, and will not be tried again of itself."""

    def supersede_delivery(self, delivery: Delivery, by: str, *, now_s: float) -> None:
        """Nobody is to have it: the study ``by`` stands in the place of its own."""

    def undelivered(self, *, site: str, limit: int) -> list[Delivery]:
        """Deliveries that are still to be made or were given up, the newest first."""

    def retry_delivery(self, delivery_id: str, *, site: str, now_s: float) -> bool:
        """A person wants one tried again, with a fresh count; ``False`` unless it was given up."""

    def send_study(
        self, study_id: str, subscriber: Subscriber, *, site: str, now_s: float, due_at_s: float
    ) -> str | None:
        """A person wants the results of a study sent, again if they were: the delivery's id, due then with a fresh
        count; ``None`` if the study is not done, or the delivery is on its way this moment.
        """

    def delivered_objects(self, delivery_id: str) -> list[DeliveredObject]:
        """What became of each object of a delivery so far."""

    def note_objects(self, delivery_id: str, objects: Sequence[DeliveredObject]) -> None:
        """Remember what became of these; those not named stay as they are."""


class ExaminationLedger(Protocol):
    """Images that come in one by one, until their examination is a study (:mod:`fractureai.domain.examinations`)."""

    def instance_arrived(self, arrival: Arrival, quiet: Quiet) -> bool:
        """Record one, durably; ``False``, and nothing recorded, if its instance came before."""

    def due_examinations(self, *, now_s: float, limit: int) -> list[str]:
        """Examinations that have gone quiet, or whose closing was cut off; longest due first."""

    def close_examination(
        self, examination_id: str, *, batch_id: str, study_id: str, now_s: float, lease_s: float
    ) -> Closing | None:
        """Fix which images the next revision holds; ``None`` if it is not due or somebody else is at it.

        The ids are used if the revision is new; one whose closing was cut off keeps its own.
        """

    def examination_closed(self, closing: Closing, *, now_s: float, quiet: Quiet) -> None:
        """Its study is on its way; images that came meanwhile make the next revision due."""

    def revision_of(self, study_id: str, *, site: str) -> Revision | None:
        """The place of a study among those of its examination; ``None`` if it did not come in this way."""

    def stale_examinations(self, *, before_s: float, limit: int) -> list[str]:
        """Examinations to which nothing came since then and whose images are still kept."""

    def orphaned_examinations(self, *, limit: int) -> list[str]:
        """Examinations whose last study was deleted."""

    def settle_examination(self, examination_id: str, *, before_s: float) -> list[tuple[str, str, float]]:
        """Keep its images no longer: ``(site, arrival_id, received_at_s)`` of what can be deleted from the store.
        Nothing happens if an image has come since then, or the examination is becoming a study.
        """

    def forget_examination(self, examination_id: str) -> None:
        """Its study was deleted, and its images: what comes again is new. Nothing happens if it has come already."""

    def arrivals_not_kept(self, arrival_ids: Sequence[str]) -> list[str]:
        """Those of the ids that nothing will be made of: a crash left them between store and ledger."""


class IdentityLedger(Protocol):
    """Which images a site has under which SOP Instance UIDs (:mod:`fractureai.domain.identity`)."""

    def name_images(self, study: Study, pictures: Mapping[int, str]) -> None:
        """Remember which instances the images of a study name themselves; those without a name stay as they are.

        ``pictures``: by number, the hashes of what was decoded.
        """

    def known_images(self, study: Study) -> list[KnownImage]:
        """Images of other studies under the SOP Instance UIDs of this one, whatever their bytes; 500 at most."""

    def studies_sharing(self, study: Study) -> list[str]:
        """The ids of other studies with images of the same DICOM studies; 8 at most."""


class Ledger(
    IntakeLedger,
    UploadLedger,
    WorkLedger,
    ReadingLedger,
    Outbox,
    AccessLedger,
    AuditLedger,
    RetentionLedger,
    ExaminationLedger,
    IdentityLedger,
    Protocol,
):
    """The state of the work."""

    def close(self) -> None:
        """Give connections back."""
