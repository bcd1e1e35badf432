"""forget: delete studies for good, with proof. Every step may be cut off and done anew.

First the document that a lost ledger would be rebuilt from, then the bytes, then the rows: whatever is cut off in
between is found again by its row, and never comes back to life.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fractureai.domain import keys
from fractureai.domain.access import Principal
from fractureai.domain.audit import Act, AuditEvent
from fractureai.domain.ports import Ledger, ObjectStore
from fractureai.domain.records import StudyRow
from fractureai.domain.retention import Certificate, DeletedObject, DeletedStudy, HoldKind, patient_mark
from fractureai.domain.study import WorkState
from fractureai.stages.tidy import delete_batch_files

_LOG = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_PAGE = 200
_UNKNOWN: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ForgetPorts:
    """What forgetting reaches. ``secret`` marks patients and seals certificates."""

    store: ObjectStore
    ledger: Ledger
    secret: bytes


def delete_studies(studies: Iterable[str], certificate: Certificate, by: Principal, ports: ForgetPorts) -> Certificate:
    """Delete what may be deleted of ``studies``, and write the certificate into the store and the audit.

    Returns
    -------
    The certificate, with what was removed and what was left.
    """
    holds = {(hold.kind, hold.subject) for hold in ports.ledger.holds(certificate.site)}
    for study_id in studies:
        why = _why_not(study_id, certificate.site, holds, ports)
        if why:
            certificate.left.append((study_id, why))
            continue
        certificate.studies.append(_delete(study_id, certificate.site, ports))
        ports.ledger.note(
            AuditEvent.by(
                by,
                Act.DELETE,
                at_s=certificate.at_s,
                subject_kind="study",
                subject=study_id,
                detail=f"certificate {certificate.certificate_id}",
            )
        )
    if certificate.studies:
        document = certificate.to_json(ports.secret)
        ports.store.put(
            keys.certificate(certificate.site, certificate.certificate_id), json.dumps(document, indent=1).encode()
        )
        _LOG.info(
            "%d studies of %s deleted: certificate %s, sha256 %s",
            len(certificate.studies),
            certificate.site,
            certificate.certificate_id,
            document["sha256"],
        )
    return certificate


def studies_of_patient(site: str, patient_id: str, ports: ForgetPorts) -> Iterator[str]:
    """Every study of a patient, by the DICOM header of its images. Reads one small document of every study."""
    wanted = patient_id.strip()
    cursor: str | None = None
    while True:
        page = ports.ledger.studies(site=site, cursor=cursor, limit=_PAGE)
        for row in page.rows:
            known = _patients_of(row.study_id, site, ports.store)
            if wanted in known or (known is _UNKNOWN and _is_half_deleted(row.study_id, site, ports.store)):
                yield row.study_id
        cursor = page.next_cursor
        if cursor is None:
            return


def expired(site: str, *, before_s: float, ledger: Ledger, most: int) -> list[str]:
    """Final studies that were accepted before then, and on which no hold of their own lies, the oldest first."""
    held = {hold.subject for hold in ledger.holds(site) if hold.kind is HoldKind.STUDY}
    found: list[str] = []
    after = (0.0, "")
    while len(found) < most:
        page = ledger.final_before(site, before_s=before_s, after=after, limit=_PAGE)
        if not page:
            break
        found += [study_id for _, study_id in page if study_id not in held]
        after = page[-1]
    return found[:most]


def delete_empty_batches(batches: Iterable[str], site: str, by: Principal, ports: ForgetPorts, *, at_s: float) -> int:
    """Delete batches that became no study: what was left of their files, label and names; returns how many.

    There is no certificate of them, for no patient's image was kept; the audit tells.
    """
    deleted = 0
    for batch_id in batches:
        ports.store.delete(keys.batch_json(site, batch_id))
        delete_batch_files(site, batch_id, ports.store)
        if ports.ledger.forget_batch(batch_id, site=site):
            ports.ledger.note(AuditEvent.by(by, Act.DELETE, at_s=at_s, subject_kind="batch", subject=batch_id))
            deleted += 1
    return deleted


def _why_not(study_id: str, site: str, holds: set[tuple[HoldKind, str]], ports: ForgetPorts) -> str:
    """Why a study is not deleted; ``""`` if it is."""
    row: StudyRow | None = ports.ledger.study(study_id, site=site)
    if row is None:
        return "not there"
    if row.state is WorkState.OPEN:
        return "still at work; delete it again when it is final"
    if (HoldKind.STUDY, study_id) in holds:
        return "held"
    if any(kind is HoldKind.PATIENT for kind, _ in holds):
        marks = {patient_mark(site, one, ports.secret) for one in _patients_of(study_id, site, ports.store)}
        if any((HoldKind.PATIENT, mark) in holds for mark in marks):
            return "held with its patient"
    return ""


def _patients_of(study_id: str, site: str, store: ObjectStore) -> frozenset[str]:
    """The patient ids in the headers of a study's images; none where nothing could be read."""
    try:
        images = json.loads(store.get(keys.classification_json(site, study_id)))["images"]
    except KeyError:
        return _UNKNOWN
    found = (str((image.get("header") or {}).get("patient_id", "")).strip() for image in images)
    return frozenset(one for one in found if one)


def _is_half_deleted(study_id: str, site: str, store: ObjectStore) -> bool:
    """Whether a deletion was cut off here: whosever it was, it was to go."""
    return store.size_bytes(keys.study_json(site, study_id)) is None


def _delete(study_id: str, site: str, ports: ForgetPorts) -> DeletedStudy:
    gone = DeletedStudy(study_id)
    # The first is what the study would be rebuilt from, the last what tells whose it is.
    order = {keys.study_json(site, study_id): -1, keys.classification_json(site, study_id): 1}
    found = sorted(ports.store.keys(keys.study_prefix(site, study_id)), key=lambda key: (order.get(key, 0), key))
    for key in found:
        _remove(key, gone, ports.store)
    forgotten = ports.ledger.forget_study(study_id, site=site)
    if forgotten is None:
        return gone
    gone.rows = dict(forgotten.rows)
    more = [keys.arrival(site, arrival_id, at_s) for arrival_id, at_s in forgotten.arrivals]
    if forgotten.batch_id is not None:
        more.append(keys.batch_json(site, forgotten.batch_id))
        for prefix in keys.batch_file_prefixes(site, forgotten.batch_id):
            more += ports.store.keys(prefix)
    for key in more:
        _remove(key, gone, ports.store)
    return gone


def _remove(key: str, gone: DeletedStudy, store: ObjectStore) -> None:
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with store.open(key) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
    except KeyError:
        return
    store.delete(key)
    gone.objects.append(DeletedObject(key, size_bytes, digest.hexdigest()))
