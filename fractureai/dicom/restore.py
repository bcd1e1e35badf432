"""Images that were acknowledged and are not studies yet, brought back into a ledger that was lost."""

from __future__ import annotations

import hashlib
import json
import logging
import re

from fractureai.dicom.part10 import Part10Reader
from fractureai.domain import keys
from fractureai.domain.examinations import Arrival, Quiet
from fractureai.domain.ports import Ledger, ObjectStore
from fractureai.errors import RejectedInput

_LOG = logging.getLogger(__name__)

_ARRIVAL = re.compile(r"sites/([^/]+)/arrivals/(\d{8})/([0-9a-f]{32})")
_CHUNK_BYTES = 1 << 20
_CALLER = "restored"


def restore_arrivals(store: ObjectStore, ledger: Ledger, quiet: Quiet) -> int:
    """Record every instance of the store that neither the ledger nor a study knows; returns how many.

    Reads every key of the store once, and whole those that are meant.
    """
    found, in_studies = [], set()
    for key in store.keys("sites/"):
        if place := _ARRIVAL.fullmatch(key):
            found.append((key, place[1], int(place[2]) * 3600.0, place[3]))
        elif key.endswith("/study.json"):
            in_studies.update(image["sha256"] for image in json.loads(store.get(key)).get("images", ()))
    unknown = set(ledger.arrivals_not_kept([each[3] for each in found]))
    restored = 0
    for key, site, received_at_s, arrival_id in found:
        arrival = _arrival(store, key, site, received_at_s, arrival_id) if arrival_id in unknown else None
        if arrival is not None and arrival.sha256 not in in_studies:
            restored += ledger.instance_arrived(arrival, quiet)
    return restored


def _arrival(store: ObjectStore, key: str, site: str, received_at_s: float, arrival_id: str) -> Arrival | None:
    digest, size_bytes, head = hashlib.sha256(), 0, Part10Reader().head()
    try:
        with store.open(key) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                head.write(chunk)
        identity = head.identify()
    except (KeyError, RejectedInput):
        _LOG.warning("%s is gone or cannot be read", keys.arrival(site, arrival_id, received_at_s))
        return None
    return Arrival.of(
        identity,
        site=site,
        arrival_id=arrival_id,
        size_bytes=size_bytes,
        sha256=digest.hexdigest(),
        caller=_CALLER,
        received_at_s=received_at_s,
    )
