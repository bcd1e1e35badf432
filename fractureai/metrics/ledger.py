"""A ledger that counts what it is told: every study's end passes through it exactly once, whoever did the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fractureai.domain.reasons import Reason
from fractureai.domain.records import BatchClaim, Claim, Delivery, KeyedRequest
from fractureai.domain.study import Assessment, Batch, Study, WorkState
from fractureai.metrics.instruments import Instruments

if TYPE_CHECKING:
    from fractureai.domain.ports import Ledger


class MeteredLedger:
    """Hands every call on, and counts those that succeeded in changing something.

    Parameters
    ----------
    ledger:
        Where calls go.
    instruments:
        Where they are counted.
    """

    def __init__(self, ledger: Ledger, instruments: Instruments) -> None:
        self._ledger = ledger
        self._count = instruments

    def __getattr__(self, name: str) -> Any:
        """What is not counted goes straight through."""
        return getattr(self._ledger, name)

    def accept_study(self, study: Study, **named: Any) -> KeyedRequest | None:
        """See ``Ledger``."""
        earlier = self._ledger.accept_study(study, **named)
        if earlier is None:
            self._count.studies_accepted.inc()
        return earlier

    def accept_batch(self, batch: Batch, **named: Any) -> KeyedRequest | None:
        """See ``Ledger``."""
        earlier = self._ledger.accept_batch(batch, **named)
        if earlier is None:
            self._count.batches_accepted.inc()
        return earlier

    def complete_upload(self, batch: Batch, **named: Any) -> bool:
        """See ``Ledger``."""
        taken = self._ledger.complete_upload(batch, **named)
        if taken:
            self._count.batches_accepted.inc()
        return taken

    def unpacked(
        self, claim: BatchClaim, studies: Sequence[Study], rejected: Sequence[tuple[str, Reason]], **named: Any
    ) -> bool:
        """See ``Ledger``."""
        done = self._ledger.unpacked(claim, studies, rejected, **named)
        if done:
            self._count.studies_accepted.inc(len(studies))
        return done

    def fail_batch(self, claim: BatchClaim, reason: Reason, **named: Any) -> bool:
        """See ``Ledger``."""
        closed = self._ledger.fail_batch(claim, reason, **named)
        if closed:
            self._count.failures.labels("batch_failed", reason.code).inc()
        return closed

    def finish(
        self,
        claim: Claim,
        state: WorkState,
        *,
        now_s: float,
        assessment: Assessment | None,
        region: str | None,
        reasons: Sequence[Reason],
        **named: Any,
    ) -> bool:
        """See ``Ledger``."""
        finished = self._ledger.finish(
            claim, state, now_s=now_s, assessment=assessment, region=region, reasons=reasons, **named
        )
        if finished:
            self._count.studies_finished.labels(state.value, region or "", assessment.value if assessment else "").inc()
            self._count.turnaround.labels(state.value).observe(max(0.0, now_s - claim.study.accepted_at_s))
            if state is not WorkState.DONE:
                for code in {reason.code for reason in reasons}:
                    self._count.failures.labels(state.value, code).inc()
        return finished

    def retry(self, claim: Claim, reason: Reason, **named: Any) -> bool:
        """See ``Ledger``."""
        taken = self._ledger.retry(claim, reason, **named)
        if taken:
            self._count.retries.labels(claim.stage.value, reason.code).inc()
        return taken

    def delivered(self, delivery: Delivery, *, now_s: float) -> None:
        """See ``Ledger``."""
        self._ledger.delivered(delivery, now_s=now_s)
        self._count.deliveries.labels("delivered").inc()

    def postpone_delivery(self, delivery: Delivery, error: str, *, due_at_s: float) -> None:
        """See ``Ledger``."""
        self._ledger.postpone_delivery(delivery, error, due_at_s=due_at_s)
        self._count.deliveries.labels("postponed").inc()

    def give_up_delivery(self, delivery: Delivery, error: str, *, now_s: float) -> None:
        """See ``Ledger``."""
        self._ledger.give_up_delivery(delivery, error, now_s=now_s)
        self._count.deliveries.labels("given_up").inc()

    def supersede_delivery(self, delivery: Delivery, by: str, *, now_s: float) -> None:
        """See ``Ledger``."""
        self._ledger.supersede_delivery(delivery, by, now_s=now_s)
        self._count.deliveries.labels("superseded").inc()
