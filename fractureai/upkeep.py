"""What an operator's command or the scheduler does for a whole installation, beside its studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from fractureai.bootstrap import Deployment
from fractureai.domain import keys
from fractureai.domain.access import Kind, Principal, Scope
from fractureai.domain.retention import Certificate
from fractureai.errors import BrokenDeployment
from fractureai.stages import forget, forward, seal

_DAY_S = 86400.0


def migrate(deployment: Deployment, *, create_bucket: bool) -> bool:
    """Bring the tables up to date and try the store; returns whether a bucket was made.

    Raises
    ------
    BrokenDeployment
        If the bucket does not exist, or the server does not encrypt as asked.
    TransientFailure
        If ledger or store does not answer.
    """
    deployment.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = False
    if deployment.settings.store.kind == "s3":
        from fractureai.storage.s3 import S3Store

        store = cast(S3Store, deployment.bare_store)
        made = create_bucket and store.create_bucket()
        if not made and not store.bucket_exists():
            bucket = deployment.settings.store.bucket
            raise BrokenDeployment(f'Bucket "{bucket}" does not exist. Run `fractureai migrate --create-bucket`.')
    # One small object written and removed: credentials, encryption and the bucket itself are tried before anybody
    # relies on them.
    key = keys.probe(deployment.settings.site, deployment.new_id())
    deployment.store.put(key, b"may be deleted")
    deployment.store.delete(key)
    deployment.ledger.open_count()
    return made


def rebuild(deployment: Deployment) -> dict[str, int]:
    """Bring into the ledger what only the store knows; returns how many rows of each kind were made."""
    from fractureai.dicom.restore import restore_arrivals
    from fractureai.storage import rebuild as studies
    from fractureai.storage.ledger.sql import SqlLedger

    ledger = SqlLedger.open(deployment.settings.ledger_url)
    try:
        rebuilt = asdict(studies.rebuild(deployment.store, ledger, now_s=deployment.clock()))
        return rebuilt | {"arrivals": restore_arrivals(deployment.store, ledger, deployment.policy.quiet)}
    finally:
        ledger.close()


def seal_audit(deployment: Deployment) -> int:
    """Write into the store where the audit of each site ends; returns how many were sealed."""
    return seal.seal_all(deployment.ledger, deployment.store, deployment.audit_secret, now_s=deployment.clock())


def forward_audit(deployment: Deployment) -> int:
    """Hand the audit to the configured receiver; returns how many records it got."""
    chosen = deployment.settings.audit
    if not chosen.syslog_url:
        return 0
    from fractureai.access.syslog import SyslogReceiver

    receiver = SyslogReceiver(chosen.syslog_url, str(chosen.syslog_ca_file) if chosen.syslog_ca_file else None)
    return forward.forward(deployment.ledger, receiver, chosen.syslog_url)


def forget_sign_ins(deployment: Deployment) -> int:
    """Forget sign-ins that are over; returns how many."""
    now_s = deployment.clock()
    idle_s = deployment.settings.access.session_idle_s
    return deployment.ledger.forget_sessions(expired_before_s=now_s, seen_before_s=now_s - idle_s)


def expired_studies(deployment: Deployment, site: str, *, most: int = sys.maxsize) -> list[str]:
    """Studies of a site that are older than the settings allow, the oldest first; none where all are kept."""
    days = deployment.retention_days(site)
    if not days:
        return []
    before_s = deployment.clock() - days * _DAY_S
    return forget.expired(site, before_s=before_s, ledger=deployment.ledger, most=most)


def expired_batches(deployment: Deployment, site: str, *, most: int = sys.maxsize) -> Sequence[str]:
    """Batches of a site that became no study and are older than the settings allow, the oldest first."""
    days = deployment.retention_days(site)
    before_s = deployment.clock() - days * _DAY_S
    return deployment.ledger.empty_batches(site, before_s=before_s, limit=most) if days else ()


def run_retention(deployment: Deployment, by: Principal | None = None, *, most: int = sys.maxsize) -> list[Certificate]:
    """Delete what is older than the settings allow, at most so much of each site; returns the certificates."""
    made = []
    for site in deployment.ledger.sites():
        who = by or Principal(Kind.OPERATOR, "retention", "retention", site, frozenset(Scope))
        actor = Principal(who.kind, who.ident, who.name, site, who.scopes)
        batches = expired_batches(deployment, site, most=most)
        forget.delete_empty_batches(batches, site, actor, deployment.forget_ports, at_s=deployment.clock())
        studies = expired_studies(deployment, site, most=most)
        if studies:
            reason = f"older than {deployment.retention_days(site)} days"
            certificate = Certificate(deployment.new_id(), site, deployment.clock(), who.ident, reason)
            made.append(forget.delete_studies(studies, certificate, actor, deployment.forget_ports))
    return made
