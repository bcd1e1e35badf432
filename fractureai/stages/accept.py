"""accept: what was received becomes work. After this returns, nothing of it can be lost.

The bytes are in the store before this is called; here the document that describes them joins them, then the ledger
remembers the work in one transaction, then the queue is told, best effort.
"""

from __future__ import annotations

import logging
from typing import Protocol

from fractureai.domain import keys
from fractureai.domain.ports import Ledger, ObjectStore, Queue
from fractureai.domain.records import KeyedRequest
from fractureai.domain.study import Batch, Stage, Study
from fractureai.domain.study_json import batch_to_json, study_to_json
from fractureai.errors import TransientFailure
from fractureai.stages.artifacts import write_json
from fractureai.stages.order import priority_of
from fractureai.stages.ports import WorkPolicy

_LOG = logging.getLogger(__name__)


class AcceptPorts(Protocol):
    """What accepting needs; the web has no more than this."""

    @property
    def store(self) -> ObjectStore: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def policy(self) -> WorkPolicy: ...


def accept_study(study: Study, ports: AcceptPorts, request: KeyedRequest | None = None) -> KeyedRequest | None:
    """Take responsibility for a study whose sources are in the store.

    Returns
    -------
    The request that had the same key before, if there is one: then nothing was accepted.

    Raises
    ------
    TransientFailure
        If store or ledger is away: then nothing was accepted and the sender must send again. A queue that is away is
        no reason to refuse.
    """
    write_json(ports.store, keys.study_json(study.site, study.study_id), study_to_json(study))
    due_s = study.accepted_at_s + ports.policy.patience_s
    if earlier := ports.ledger.accept_study(study, publish_due_at_s=due_s, request=request):
        ports.store.delete(keys.study_json(study.site, study.study_id))
        return earlier
    ids = {"study_id": study.study_id, "batch_id": study.batch_id}
    _LOG.info("study accepted, %d images", len(study.images), extra=ids)
    try:
        ports.queue.publish_study(study.study_id, Stage.CLASSIFY)
    except TransientFailure:
        _LOG.warning("study %s: accepted while the queue is away", study.study_id)
    return None


def accept_batch(batch: Batch, ports: AcceptPorts, request: KeyedRequest | None = None) -> KeyedRequest | None:
    """Take responsibility for a batch whose uploads are in the store; the intake task makes studies of it.

    Returns
    -------
    As :func:`accept_study`.

    Raises
    ------
    TransientFailure
        As :func:`accept_study`.
    """
    write_json(ports.store, keys.batch_json(batch.site, batch.batch_id), batch_to_json(batch))
    due_s = batch.accepted_at_s + ports.policy.patience_s
    if earlier := ports.ledger.accept_batch(batch, publish_due_at_s=due_s, request=request):
        ports.store.delete(keys.batch_json(batch.site, batch.batch_id))
        return earlier
    _publish_batch(batch, ports)
    return None


def complete_upload(batch: Batch, ports: AcceptPorts) -> bool:
    """The same for a batch that was sent file by file; ``False`` if its upload has expired.

    Raises
    ------
    TransientFailure
        As :func:`accept_study`.
    """
    write_json(ports.store, keys.batch_json(batch.site, batch.batch_id), batch_to_json(batch))
    if not ports.ledger.complete_upload(batch, publish_due_at_s=batch.accepted_at_s + ports.policy.patience_s):
        ports.store.delete(keys.batch_json(batch.site, batch.batch_id))
        return False
    _publish_batch(batch, ports)
    return True


def _publish_batch(batch: Batch, ports: AcceptPorts) -> None:
    _LOG.info("batch accepted, %d files", len(batch.uploads), extra={"batch_id": batch.batch_id})
    try:
        ports.queue.publish_batch(batch.batch_id, priority_of(len(batch.uploads), ports.policy))
    except TransientFailure:
        _LOG.warning("batch %s: accepted while the queue is away", batch.batch_id)
