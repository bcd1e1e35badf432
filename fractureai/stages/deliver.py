"""deliver: a finished study on its way to somebody; which somebody, the delivery says. One frame for all channels:
lease, attempt, back-off, giving up. A channel says only what was left undone, if anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from fractureai.domain.records import Channel, Delivery, StudyRow
from fractureai.domain.study import WorkState
from fractureai.errors import BrokenDeployment, RejectedInput, TransientFailure
from fractureai.stages import notify, post_fhir, send
from fractureai.stages.attempts import kept
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

LONGEST_WAIT_S = 6 * 3600.0

Deliver = Callable[[Delivery, StudyRow, StagePorts], None]

CHANNELS: Mapping[Channel, Deliver] = MappingProxyType(
    {Channel.WEBHOOK: notify.deliver, Channel.DICOM: send.deliver, Channel.FHIR: post_fhir.deliver}
)
"""What each channel does. Unless everything was taken it raises ``TransientFailure``, or ``RejectedInput`` if what was
not never will be; the detail is kept and shown."""

_OF_RESULTS = frozenset({Channel.DICOM, Channel.FHIR})
"""Bring results where others read them; of a study that is superseded they would be read beside those of the newer."""


def run(delivery_id: str, ports: StagePorts) -> str:
    """Deliver once. Returns ``not_due``, ``done``, ``retry``, ``failed`` or ``superseded``."""
    delivery = ports.ledger.claim_delivery(delivery_id, now_s=ports.clock(), lease_s=ports.policy.lease_s)
    if delivery is None:
        return "not_due"
    row = ports.ledger.study(delivery.study_id, site=delivery.site)
    if row is None:
        return _give_up(delivery, "the study is gone", ports)
    if delivery.channel in _OF_RESULTS and (newer := _newer(row, ports)):
        study_id, is_done = newer
        if is_done:
            ports.ledger.supersede_delivery(delivery, study_id, now_s=ports.clock())
            return "superseded"
        if delivery.attempts < ports.policy.attempts_on(delivery.channel):
            return _again(delivery, f"waits for {study_id}, which supersedes it", ports)
    try:
        with kept(
            lambda until_s: ports.ledger.renew_delivery(delivery, until_s=until_s),
            ports,
            longest_s=ports.policy.longest_s,
        ):
            CHANNELS[delivery.channel](delivery, row, ports)
    except RejectedInput as refusal:
        return _give_up(delivery, refusal.detail, ports)
    except TransientFailure as failure:
        return _again(delivery, failure.detail, ports)
    except BrokenDeployment as error:
        # Such as a destination that is no longer in the peers file: an operator mends it and has it sent again.
        _LOG.exception("delivery %s: the installation is at fault", delivery_id)
        return _give_up(delivery, str(error), ports)
    except Exception as error:  # one delivery's trouble must never end the worker
        _LOG.exception("delivery %s failed", delivery_id)
        return _again(delivery, type(error).__name__, ports)
    ports.ledger.delivered(delivery, now_s=ports.clock())
    return "done"


def _newer(row: StudyRow, ports: StagePorts) -> tuple[str, bool] | None:
    """The revision that stands in a study's place, and whether it is done; ``None`` if there is none, or came to
    nothing, so that this study's results are still the best there are.
    """
    newer: tuple[str, bool] | None = None
    place = ports.ledger.revision_of(row.study_id, site=row.site)
    while place and place.superseded_by:
        study_id = place.superseded_by
        found = ports.ledger.study(study_id, site=row.site)
        state = found.state if found else WorkState.OPEN  # its batch is not unpacked yet
        if state is WorkState.DONE:
            newer = study_id, True
        elif state is WorkState.OPEN and newer is None:
            newer = study_id, False
        place = ports.ledger.revision_of(study_id, site=row.site)
    return newer


def _again(delivery: Delivery, error: str, ports: StagePorts) -> str:
    if delivery.attempts >= ports.policy.attempts_on(delivery.channel):
        return _give_up(delivery, error, ports)
    wait = _wait_s(delivery, ports)
    _LOG.warning("delivery %s: %s; again in %.0f s", delivery.delivery_id, error, wait)
    ports.ledger.postpone_delivery(delivery, error, due_at_s=ports.clock() + wait)
    return "retry"


def _wait_s(delivery: Delivery, ports: StagePorts) -> float:
    """Doubled for every attempt, up to a bound; and up to a tenth more by the study's id, so that what waited for the
    same peer does not come back to it in one moment.
    """
    wait = min(ports.policy.backoff_on(delivery.channel) * 2.0 ** (delivery.attempts - 1), LONGEST_WAIT_S)
    return wait * (1.0 + int(delivery.study_id[:4], 16) / 0xA0000)


def _give_up(delivery: Delivery, error: str, ports: StagePorts) -> str:
    _LOG.error("delivery %s: given up: %s", delivery.delivery_id, error)
    ports.ledger.give_up_delivery(delivery, error, now_s=ports.clock())
    return "failed"
