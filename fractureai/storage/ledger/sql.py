"""The ledger on SQL: SQLite for one machine, PostgreSQL for several, the same statements on both."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import inspect, text

from fractureai.domain.reasons import Reason
from fractureai.domain.records import (
    ALL_STUDIES,
    BatchClaim,
    BatchRow,
    Channel,
    Claim,
    DueBatch,
    Event,
    FinishedPage,
    KeyedRequest,
    Page,
    Priority,
    StudyFilter,
    StudyRow,
    Subscriber,
    WorklistOrder,
)
from fractureai.domain.study import Assessment, Batch, Stage, Study, WorkState
from fractureai.storage.ledger import finished, intake, reading, requests, restore, work, worklist
from fractureai.storage.ledger.access import AccessMethods
from fractureai.storage.ledger.audit import AuditMethods
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.examinations import ExaminationMethods
from fractureai.storage.ledger.forgetting import ForgettingMethods
from fractureai.storage.ledger.gauges import GaugeMethods
from fractureai.storage.ledger.identity import IdentityMethods
from fractureai.storage.ledger.order import OrderMethods
from fractureai.storage.ledger.outbox import OutboxMethods
from fractureai.storage.ledger.schema import HEAD
from fractureai.storage.ledger.uploads import UploadMethods, received
from fractureai.storage.ledger.verdicts import VerdictMethods


class SqlLedger(
    AccessMethods,
    AuditMethods,
    ForgettingMethods,
    UploadMethods,
    VerdictMethods,
    OrderMethods,
    OutboxMethods,
    GaugeMethods,
    ExaminationMethods,
    IdentityMethods,
):
    """The ``Ledger`` of ``fractureai.domain.ports`` over a database. Safe between threads, processes and forks.

    What somebody was promised (accepting, unpacking, a person's reopening, the place of a finished study, which others
    remember as their cursor) is synced to the disk before the call returns. The stages' own progress is not: a power
    cut may forget the last of it, and then a stage runs again.

    Parameters
    ----------
    url:
        ``sqlite:////folder/ledger.db`` or ``postgresql+psycopg://user@host/database``. Use :meth:`open`, which also
        brings the tables up to date.
    outbox:
        Whether the webhook is to be told of every finished study.
    subscribers:
        Who else is.
    """

    def __init__(self, url: str, *, outbox: bool = False, subscribers: Sequence[Subscriber] = ()) -> None:
        self._connections = Connections(url)
        self._subscribers = (*((Subscriber(Channel.WEBHOOK),) if outbox else ()), *subscribers)

    @classmethod
    def open(cls, url: str, *, outbox: bool = False, subscribers: Sequence[Subscriber] = ()) -> SqlLedger:
        """Open the ledger with its tables up to date; any number of processes may do so at once."""
        ledger = cls(url, outbox=outbox, subscribers=subscribers)
        if not ledger._is_current():
            # Alembic is a heavy import (0.15 s) that a worker of an up-to-date installation never needs.
            from fractureai.storage.ledger import migrate

            migrate.upgrade(ledger._connections)
        return ledger

    def accept_batch(
        self, batch: Batch, *, publish_due_at_s: float, request: KeyedRequest | None = None
    ) -> KeyedRequest | None:
        """Record a batch to be unpacked, unless its request was answered before. Idempotent by ``batch_id``."""
        with self._connections.write(durable=True) as connection:
            if request and (earlier := requests.remember(connection, request)):
                return earlier
            intake.accept_batch(connection, batch, publish_due_at_s=publish_due_at_s)
            received(connection, batch.batch_id)
            return None

    def accept_study(
        self, study: Study, *, publish_due_at_s: float, request: KeyedRequest | None = None
    ) -> KeyedRequest | None:
        """Record a study (and, if it is new, its batch as unpacked) open at the first stage. Idempotent by id."""
        with self._connections.write(durable=True) as connection:
            if request and (earlier := requests.remember(connection, request)):
                return earlier
            intake.accept_study(connection, study, publish_due_at_s=publish_due_at_s)
            received(connection, study.study_id)
            return None

    def earlier_request(self, key: str, *, site: str, now_s: float) -> KeyedRequest | None:
        """The request that came with this key and is still remembered."""
        with self._connections.read() as connection:
            return requests.earlier(connection, key, site=site, now_s=now_s)

    def forget_requests(self, *, before_s: float) -> int:
        """Forget keys that came before; returns how many."""
        with self._connections.write(durable=False) as connection:
            return requests.forget(connection, before_s=before_s)

    def claim_batch(self, batch_id: str, *, owner: str, now_s: float, lease_s: float) -> BatchClaim | None:
        """Lease the unpacking; ``None`` if it is done, or somebody else holds it."""
        with self._connections.write(durable=False) as connection:
            return intake.claim_batch(connection, batch_id, owner=owner, now_s=now_s, lease_s=lease_s)

    def unpacked(
        self,
        claim: BatchClaim,
        studies: Sequence[Study],
        rejected: Sequence[tuple[str, Reason]],
        *,
        now_s: float,
        priority: Priority = Priority.BULK,
    ) -> bool:
        """Record the studies of a batch, due at once, and close its unpacking. ``False`` if the lease was lost."""
        with self._connections.write(durable=True) as connection:
            if not intake.close_batch(connection, claim, WorkState.DONE, now_s=now_s):
                return False
            intake.add_unpacked(connection, claim, studies, rejected, now_s, priority)
            return True

    def fail_batch(self, claim: BatchClaim, reason: Reason, *, now_s: float) -> bool:
        """Close the unpacking as failed."""
        with self._connections.write(durable=False) as connection:
            return intake.close_batch(connection, claim, WorkState.FAILED, reasons=(reason,), now_s=now_s)

    def retry_batch(self, claim: BatchClaim, *, now_s: float, due_at_s: float, counts: bool = True) -> bool:
        """Give the lease back, closed to all until ``due_at_s``."""
        with self._connections.write(durable=False) as connection:
            return intake.give_back(connection, claim, now_s=now_s, due_at_s=due_at_s, counts=counts)

    def renew_batch(self, claim: BatchClaim, *, until_s: float) -> bool:
        """Hold the lease longer; ``False`` if it was lost."""
        with self._connections.write(durable=False) as connection:
            return intake.renew(connection, claim, until_s=until_s)

    def claim(self, study_id: str, stage: Stage, *, owner: str, now_s: float, lease_s: float) -> Claim | None:
        """Lease one stage, counting the attempt. ``None`` if the study is elsewhere, final, or leased."""
        with self._connections.write(durable=False) as connection:
            return work.claim(connection, study_id, stage, owner=owner, now_s=now_s, lease_s=lease_s)

    def renew(self, claim: Claim, *, until_s: float) -> bool:
        """Hold the lease longer; ``False`` if it was lost."""
        with self._connections.write(durable=False) as connection:
            return work.renew(connection, claim, until_s=until_s)

    def advance(self, claim: Claim, *, now_s: float, due_at_s: float) -> bool:
        """The stage is done; the next one is open. ``False`` if the lease was lost: then do nothing more."""
        with self._connections.write(durable=False) as connection:
            return work.advance(connection, claim, now_s=now_s, due_at_s=due_at_s)

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
        ending = work.Ending(state, assessment, region, max_fracture_probability, reasons)
        with self._connections.write(durable=True) as connection:
            return work.finish(connection, claim, ending, now_s=now_s, tell=self._subscribers)

    def retry(self, claim: Claim, reason: Reason, *, now_s: float, due_at_s: float, counts: bool = True) -> bool:
        """Give the lease back after a failure, closed to all until ``due_at_s``."""
        with self._connections.write(durable=False) as connection:
            return work.retry(connection, claim, reason, now_s=now_s, due_at_s=due_at_s, counts=counts)

    def reopen(self, study_id: str, *, site: str, now_s: float) -> bool:
        """A person wants a failed study tried again, from its first unfinished stage, with a fresh count."""
        with self._connections.write(durable=True) as connection:
            return work.reopen(connection, study_id, site=site, now_s=now_s)

    def reopen_batch(self, batch_id: str, *, site: str, now_s: float) -> int:
        """The same for all failed studies of a batch, and for its unpacking; returns how many were opened again."""
        with self._connections.write(durable=True) as connection:
            studies = work.reopen_failed(connection, batch_id, site=site, now_s=now_s)
            return studies + intake.reopen(connection, batch_id, site=site, now_s=now_s)

    def due_batches(self, *, now_s: float, due_before_s: float, limit: int) -> list[DueBatch]:
        """Batches whose unpacking should be in the queue, longest due first."""
        with self._connections.read() as connection:
            return intake.due(connection, now_s=now_s, due_before_s=due_before_s, limit=limit)

    def published(self, study_ids: Sequence[str], *, now_s: float, due_again_at_s: float) -> None:
        """Messages were sent; look again at ``due_again_at_s`` if nothing has moved by then."""
        if not study_ids:
            return
        with self._connections.write(durable=False) as connection:
            work.published(connection, study_ids, now_s=now_s, due_again_at_s=due_again_at_s)

    def published_batch(self, batch_id: str, *, now_s: float, due_again_at_s: float) -> None:
        """The same for a batch."""
        with self._connections.write(durable=False) as connection:
            intake.published(connection, batch_id, now_s=now_s, due_again_at_s=due_again_at_s)

    def study(self, study_id: str, *, site: str) -> StudyRow | None:
        """One row; ``None`` if there is none at this site."""
        with self._connections.read() as connection:
            return reading.study(connection, study_id, site=site)

    def sources(self, study_id: str, *, site: str) -> Study | None:
        """What was accepted, with its files; ``None`` if there is none at this site."""
        with self._connections.read() as connection:
            return reading.sources(connection, study_id, site=site)

    def batch(self, batch_id: str, *, site: str) -> BatchRow | None:
        """One batch with counts; ``None`` if there is none at this site."""
        with self._connections.read() as connection:
            return reading.batch(connection, batch_id, site=site)

    def studies(
        self,
        *,
        site: str,
        which: StudyFilter = ALL_STUDIES,
        order: WorklistOrder = WorklistOrder.NEWEST,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """A page of the worklist. Raises ``ValueError`` if the cursor is not one of this order."""
        query = worklist.WorklistQuery(site, which, order, cursor, limit)
        with self._connections.read() as connection:
            return worklist.page(connection, query)

    def finished_since(self, *, site: str, cursor: str, limit: int) -> FinishedPage:
        """What became final after ``cursor``, in that order. Raises ``ValueError`` if it is no cursor."""
        with self._connections.read() as connection:
            return finished.since(connection, site=site, cursor=cursor, limit=limit)

    def history(self, study_id: str, *, site: str) -> list[Event]:
        """What was done when, oldest first."""
        with self._connections.read() as connection:
            return reading.history(connection, study_id, site=site)

    def open_count(self) -> int:
        """How many studies are open, over all sites."""
        with self._connections.read() as connection:
            return work.count_open(connection)

    def restore_batch(self, batch: Batch, state: WorkState, *, due_at_s: float) -> bool:
        """Bring back a batch from the store; ``False``, and nothing changed, if it is known."""
        with self._connections.write(durable=False) as connection:
            return restore.restore_batch(connection, batch, state, due_at_s=due_at_s)

    def restore_study(self, remains: restore.Remains, *, now_s: float) -> bool:
        """Bring back a study from the store; ``False``, and nothing changed, if it is known."""
        with self._connections.write(durable=False) as connection:
            return restore.restore_study(connection, remains, now_s=now_s)

    def close(self) -> None:
        """Give connections back."""
        self._connections.close()

    def _is_current(self) -> bool:
        with self._connections.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return False
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD
