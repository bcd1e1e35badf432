"""``fractureai audit``: check and export the record of who did and saw what."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fractureai.bootstrap import Deployment
from fractureai.commands.keys import data_option, note, opened
from fractureai.domain.audit import Act, AuditRecord, ChainCheck, Head
from fractureai.stages.seal import seals_of
from fractureai.upkeep import seal_audit

_PAGE = 1000


@click.group(short_help="Who did and saw what: verify, export, seal.")
def audit() -> None:
    """The record of who did and saw what: a chain of hashes a site, sealed from time to time in the store."""


@audit.command()
@click.option("--site", help="Only this site.")
@data_option
@click.pass_context
def verify(context: click.Context, site: str | None, data_dir: Path | None) -> None:
    """Find every record that was altered, put in or taken out, and ends that were cut off.

    Exit code 0: all stands. 1: something does not; each fault is a line.
    """
    faulty = 0
    with opened(data_dir) as deployment:
        sites = sites_of(deployment, site)
        if not sites:
            click.echo("no records: is this the right data folder?", err=True)
        for name in sites:
            check = check_site_of(deployment, name)
            for fault in check.faults:
                click.echo(f"{name}: {fault}")
            faulty += bool(check.faults)
            click.echo(f"{name}: {check.number} records, {'FAULTY' if check.faults else 'all stand'}", err=True)
            note(deployment, Act.AUDIT, name, ("audit", name), f"verified: {len(check.faults)} faults")
    context.exit(int(faulty > 0))


@audit.command()
@click.option("--site", help="Only this site.")
@click.option("--after", default=0, help="Only records after this number.", type=click.IntRange(0))
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "dicom", "syslog"]), default="jsonl", show_default=True,
    help="jsonl: one JSON object a line. dicom: PS3.15 A.5 XML, one message a line. syslog: the same as RFC 5424.",
)  # fmt: skip
@data_option
def export(site: str | None, after: int, form: str, data_dir: Path | None) -> None:
    """Write the records to standard output, oldest first."""
    with opened(data_dir) as deployment:
        for name in sites_of(deployment, site):
            for record in records_of(deployment, name, after):
                sys.stdout.buffer.write(_line(record, form) + b"\n")
            note(deployment, Act.AUDIT, name, ("audit", name), f"exported as {form}")
    sys.stdout.flush()


@audit.command()
@data_option
def seal(data_dir: Path | None) -> None:
    """Seal where each chain ends now; the scheduler does it every few minutes."""
    with opened(data_dir) as deployment:
        click.echo(f"{seal_audit(deployment)} chains sealed")


def sites_of(deployment: Deployment, site: str | None) -> list[str]:
    """The sites that have a record, or the one that was named."""
    found = {head.site for head in deployment.ledger.audit_heads()} | set(deployment.ledger.sites())
    return sorted(found) if site is None else [site]


def check_site_of(deployment: Deployment, site: str) -> ChainCheck:
    """Walk along the chain of a site."""
    # The seals and the head first: what is appended meanwhile is no fault.
    seals = list(seals_of(site, deployment.store, deployment.audit_secret))
    head = next((head for head in deployment.ledger.audit_heads() if head.site == site), None)
    check = ChainCheck(site, faults=[fault for fault in seals if isinstance(fault, str)])
    check.expect([one for one in seals if isinstance(one, Head)])
    for record in records_of(deployment, site, 0):
        if head is not None and record.number > head.number:
            break
        check.take(record)
    check.end(head)
    return check


def records_of(deployment: Deployment, site: str, after: int) -> Iterator[AuditRecord]:
    """All records of a site after a number, page by page."""
    while records := deployment.ledger.audit_records(site, after=after, limit=_PAGE):
        yield from records
        after = records[-1].number


def _line(record: AuditRecord, form: str) -> bytes:
    if form == "jsonl":
        return json.dumps(record.to_json(), ensure_ascii=True).encode()
    from fractureai.access.syslog import dicom_message, syslog_message

    return dicom_message(record) if form == "dicom" else syslog_message(record)
