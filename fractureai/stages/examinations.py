"""examinations: images that came in one by one become a study when their examination has gone quiet.

A sender was told that each of them is safe; from then on they are in the store and the ledger, and whoever closes the
examination may be cut off anywhere and do it again, with the same study.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fractureai.domain import keys
from fractureai.domain.examinations import Arrival, Closing, Quiet
from fractureai.domain.ports import ObjectStore
from fractureai.domain.study import Batch, Grouping, Upload
from fractureai.errors import TransientFailure
from fractureai.stages.accept import AcceptPorts, accept_batch
from fractureai.stages.intake import only_study_of
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_LEASE_S = 120.0
_ROUND = 50
_LEFT_OVER_S = 24 * 3600.0
"""An object that no instance knows, that much later, is left of a transfer that was never acknowledged."""


def arrived(arrival: Arrival, quiet: Quiet, ports: AcceptPorts) -> bool:
    """Take responsibility for an instance whose bytes are in the store; ``False`` if it came before, which is well.

    Raises
    ------
    TransientFailure
        If the ledger is away: then nothing was promised, and the sender must send again.
    """
    key = keys.arrival(arrival.site, arrival.arrival_id, arrival.received_at_s)
    try:
        is_new = ports.ledger.instance_arrived(arrival, quiet)
    except TransientFailure:
        _delete(ports.store, key)
        raise
    if not is_new:
        _delete(ports.store, key)
    return is_new


def run(ports: StagePorts) -> int:
    """Make studies of all examinations that have gone quiet; returns how many."""
    closed = 0
    try:
        for examination_id in ports.ledger.due_examinations(now_s=ports.clock(), limit=_ROUND):
            closed += _close(examination_id, ports)
    except TransientFailure as failure:
        _LOG.warning("closing examinations stopped: %s", failure)
    if closed:
        _LOG.info("%d examinations became studies", closed)
    return closed


def _close(examination_id: str, ports: StagePorts) -> bool:
    batch_id = ports.new_id()
    closing = ports.ledger.close_examination(
        examination_id,
        batch_id=batch_id,
        study_id=only_study_of(batch_id),
        now_s=ports.clock(),
        lease_s=_LEASE_S,
    )
    if closing is None:
        return False
    if ports.ledger.batch(closing.batch_id, site=closing.site) is None:
        uploads = _uploads(closing, ports.store)
        if uploads:
            batch = Batch(closing.site, closing.batch_id, _label(closing), ports.clock(), uploads, Grouping.STUDY)
            accept_batch(batch, ports)
    ports.ledger.examination_closed(closing, now_s=ports.clock(), quiet=ports.policy.quiet)
    _LOG.info(
        "study %s: revision %d of an examination, %d images", closing.study_id, closing.number, len(closing.images)
    )
    return True


def _uploads(closing: Closing, store: ObjectStore) -> tuple[Upload, ...]:
    uploads: list[Upload] = []
    for image in closing.images:
        number = len(uploads) + 1
        try:
            store.copy(
                keys.arrival(image.site, image.arrival_id, image.received_at_s),
                keys.batch_upload(closing.site, closing.batch_id, number),
            )
        except KeyError:
            _LOG.exception("study %s: an image that was received is not in the store", closing.study_id)
            continue
        uploads.append(Upload(number, f"{image.modality or 'image'}-{number}.dcm", image.size_bytes, image.sha256))
    return tuple(uploads)


def _label(closing: Closing) -> str:
    first = closing.images[0]
    what = " ".join(part for part in (first.modality, f"from {first.caller}") if part)
    return what if closing.number == 1 else f"{what}, revision {closing.number}"


def tidy(ports: StagePorts) -> int:
    """Delete the images of examinations nothing came to for so long, and of those whose study was deleted; returns how
    many examinations. Their studies keep their own copies.
    """
    now = ports.clock()
    before = now - ports.policy.revise_within_s
    tidied = 0
    for examination_id in ports.ledger.stale_examinations(before_s=before, limit=_ROUND):
        tidied += _forget_images(examination_id, ports, before_s=before)
    for examination_id in ports.ledger.orphaned_examinations(limit=_ROUND):
        if _forget_images(examination_id, ports, before_s=now):
            ports.ledger.forget_examination(examination_id)
            tidied += 1
    return tidied


def _forget_images(examination_id: str, ports: StagePorts, *, before_s: float) -> bool:
    images = ports.ledger.settle_examination(examination_id, before_s=before_s)
    for site, arrival_id, received_at_s in images:
        ports.store.delete(keys.arrival(site, arrival_id, received_at_s))
    return bool(images)


def sweep(sites: Sequence[str], ports: StagePorts) -> int:
    """Delete what crashes left of transfers that were never acknowledged; returns how many. Lists what is kept."""
    swept = 0
    oldest_hour = int((ports.clock() - _LEFT_OVER_S) // 3600)
    for site in sites:
        prefix = keys.arrivals_prefix(site)
        old: dict[str, str] = {}
        for key in ports.store.keys(prefix):
            hour, _, arrival_id = key.removeprefix(prefix).partition("/")
            if int(hour) < oldest_hour:
                old[arrival_id] = key
        for arrival_id in ports.ledger.arrivals_not_kept(list(old)):
            ports.store.delete(old[arrival_id])
            swept += 1
    return swept


def _delete(store: ObjectStore, key: str) -> None:
    try:
        store.delete(key)
    except TransientFailure:
        _LOG.warning("an instance that was not taken is left in the store; it is swept away later")
