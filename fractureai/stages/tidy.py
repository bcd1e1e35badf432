"""tidy: what the intake leaves in the store and nobody will ask for again. Every step may be cut off and done anew."""

from __future__ import annotations

import logging

from fractureai.domain import keys
from fractureai.domain.ports import Ledger, ObjectStore
from fractureai.domain.records import REQUEST_KEPT_S
from fractureai.errors import TransientFailure
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_UPLOAD_KEPT_S = 24 * 3600.0
_BATCH_LEFT_S = 600.0
"""A batch that was unpacked so long ago and is not cleaned was left by a worker that died."""

_ROUND = 50


def run(ports: StagePorts) -> int:
    """One round of everything; returns how many batches and uploads were cleaned."""
    now = ports.clock()
    cleaned = 0
    try:
        for batch in ports.ledger.batches_to_clean(unpacked_before_s=now - _BATCH_LEFT_S, limit=_ROUND):
            clean_batch(batch.site, batch.batch_id, ports.store, ports.ledger)
            cleaned += 1
        for site, batch_id in ports.ledger.expire_uploads(touched_before_s=now - _UPLOAD_KEPT_S, limit=_ROUND):
            _delete_leftovers(site, batch_id, ports.store)
            ports.ledger.forget_upload(batch_id)
            cleaned += 1
        ports.ledger.forget_requests(before_s=now - REQUEST_KEPT_S)
    except TransientFailure as failure:
        _LOG.warning("tidying stopped: %s", failure)
    if cleaned:
        _LOG.info("cleaned up after %d batches and uploads", cleaned)
    return cleaned


def clean_batch(site: str, batch_id: str, store: ObjectStore, ledger: Ledger) -> None:
    """Delete the uploads of a batch whose studies the ledger has; ``batch.json`` stays, for it tells who sent what."""
    delete_batch_files(site, batch_id, store)
    ledger.cleaned(batch_id)


def _delete_leftovers(site: str, subject_id: str, store: ObjectStore) -> None:
    """What was received and never accepted, whether it was to be a batch or a study: its sender has no answer."""
    delete_batch_files(site, subject_id, store)
    store.delete(keys.batch_json(site, subject_id))
    for key in list(store.keys(keys.study_prefix(site, subject_id))):
        store.delete(key)


def delete_batch_files(site: str, batch_id: str, store: ObjectStore) -> None:
    """Delete the uploads of a batch and what was unpacked from them."""
    for prefix in keys.batch_file_prefixes(site, batch_id):
        # Listed, although rows name the uploads: members of archives, and a file whose row a crash forgot, go too.
        for key in list(store.keys(prefix)):
            store.delete(key)
