"""``fractureai retention`` and ``fractureai patients``: deleting by age and by patient, holds, and the proof."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fractureai.bootstrap import Deployment
from fractureai.commands.keys import data_option, day, known_site, note, opened, printable
from fractureai.commands.operator import operator
from fractureai.domain.audit import Act
from fractureai.domain.retention import Certificate, Hold, HoldKind, is_genuine, patient_mark
from fractureai.stages.forget import delete_studies, studies_of_patient
from fractureai.upkeep import expired_batches, expired_studies, run_retention
from fractureai.web.context import is_id

site_option = click.option("--site", help="Which site; by default the one of the installation.")


@click.group(short_help="How long studies are kept: run, hold, release, holds.")
def retention() -> None:
    """How long studies are kept (settings retention.days and retention.site_days), and what must not be deleted."""


@retention.command()
@click.option("--dry-run", is_flag=True, help="Say how many, delete nothing.")
@data_option
def run(*, dry_run: bool, data_dir: Path | None) -> None:
    """Delete final studies that are older than the settings allow, and on which no hold lies.

    The scheduler does the same every hour. Each run of a site makes a certificate of what was deleted.
    """
    with opened(data_dir) as deployment:
        if dry_run:
            for site in deployment.ledger.sites():
                click.echo(f"{site}: {_expired_count(deployment, site)}")
            return
        for certificate in run_retention(deployment, operator(deployment.settings.site)):
            _tell(deployment, certificate, None)


@retention.command()
@click.option("--study", help="The study's id.")
@click.option("--patient", is_flag=True, help="A patient, whose id is asked for or read from standard input.")
@click.option("--reason", required=True, help="Why; shown in the list, so without the patient's name.")
@site_option
@data_option
def hold(study: str | None, reason: str, site: str | None, *, patient: bool, data_dir: Path | None) -> None:
    """Keep a study, or everything of a patient, also what comes later, from being deleted."""
    with opened(data_dir) as deployment:
        site = known_site(deployment, site, new_site=False)
        kind, subject = _subject(deployment, site, study, patient=patient)
        made = Hold(site, kind, subject, printable(reason), deployment.clock())
        if not deployment.ledger.add_hold(made):
            raise click.ClickException("there is a hold on it; release it first")
        note(deployment, Act.HOLD, site, (kind.value, subject), "held")
    click.echo(f"held: {kind} {subject}")


@retention.command()
@click.option("--study", help="The study's id.")
@click.option("--patient", is_flag=True, help="A patient, whose id is asked for or read from standard input.")
@site_option
@data_option
def release(study: str | None, site: str | None, *, patient: bool, data_dir: Path | None) -> None:
    """Take a hold off again."""
    with opened(data_dir) as deployment:
        site = known_site(deployment, site, new_site=False)
        kind, subject = _subject(deployment, site, study, patient=patient)
        if not deployment.ledger.release_hold(site, kind, subject):
            raise click.ClickException("there is no hold on it; see fractureai retention holds")
        note(deployment, Act.HOLD, site, (kind.value, subject), "released")
    click.echo(f"released: {kind} {subject}")


@retention.command()
@site_option
@data_option
def holds(site: str | None, data_dir: Path | None) -> None:
    """What must not be deleted. Patients stand as keyed hashes."""
    with opened(data_dir) as deployment:
        found = deployment.ledger.holds(known_site(deployment, site, new_site=False))
    table = Table("since", "what", "which", "why")
    for one in found:
        table.add_row(*(Text(cell, overflow="fold") for cell in (day(one.at_s), one.kind, one.subject, one.reason)))
    Console().print(table if found else "No holds.")


@click.group(short_help="Delete one patient's studies, with proof.")
def patients() -> None:
    """What concerns one patient."""


@patients.command()
@click.option("--study", "more", multiple=True, help="Also this study (its id); with --only, no other.")
@click.option("--only", is_flag=True, help="Only the studies named by --study; no patient is asked for.")
@click.option("--reason", default="at the patient's request", show_default=True, help="Stands in the certificate.")
@click.option("--certificate", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@site_option
@data_option
@click.pass_context
def delete(
    context: click.Context,
    more: tuple[str, ...],
    reason: str,
    target: Path | None,
    site: str | None,
    *,
    only: bool,
    yes: bool,
    data_dir: Path | None,
) -> None:
    """Delete every study of one patient, by the Patient ID in the DICOM headers.

    The id is asked for, or is the first line of standard input: on the command line other users could read it. What
    has no such header (PNG files, files nobody could read) is not found that way: name those studies with --study.

    Exit code 0: all is gone. 1: something is left (held, or still at work); the certificate says what.
    """
    with opened(data_dir) as deployment:
        site = known_site(deployment, site, new_site=False)
        ports = deployment.forget_ports
        found, mark = [_study(one) for one in more], ""
        if not only:
            patient_id = _patient_id()
            mark = patient_mark(site, patient_id, deployment.audit_secret)
            found += [one for one in studies_of_patient(site, patient_id, ports) if one not in found]
        if not found:
            click.echo("no study of this patient")
            return
        if not yes and sys.stdin.isatty():
            click.confirm(f"Delete {len(found)} studies of {site} for good?", abort=True)
        who = operator(site)
        made = Certificate(deployment.new_id(), site, deployment.clock(), who.ident, printable(reason), mark)
        certificate = delete_studies(found, made, who, ports)
        _tell(deployment, certificate, target)
    context.exit(int(bool(certificate.left)))


@patients.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
def check(file: Path, data_dir: Path | None) -> None:
    """Say whether a certificate of deletion is one of this installation, unaltered."""
    with opened(data_dir) as deployment:
        try:
            is_ours = is_genuine(json.loads(file.read_bytes()), deployment.audit_secret)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            is_ours = False
    if not is_ours:
        raise click.ClickException("not a certificate of this installation, or altered")
    click.echo("genuine")


def _tell(deployment: Deployment, certificate: Certificate, target: Path | None) -> None:
    document = certificate.to_json(deployment.audit_secret)
    objects = sum(len(study.objects) for study in certificate.studies)
    click.echo(
        f"{certificate.site}: {len(certificate.studies)} studies deleted, {objects} objects; certificate "
        f"{certificate.certificate_id}, sha256 {document['sha256']}"
    )
    for study_id, why in certificate.left:
        click.echo(f"left: {study_id}: {why}")
    if target is not None:
        target.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _subject(deployment: Deployment, site: str, study: str | None, *, patient: bool) -> tuple[HoldKind, str]:
    if (study is None) == (not patient):
        raise click.UsageError("name one of --study and --patient")
    if study is None:
        return HoldKind.PATIENT, patient_mark(site, _patient_id(), deployment.audit_secret)
    if deployment.ledger.study(_study(study), site=site) is None:
        raise click.ClickException("no such study at this site")
    return HoldKind.STUDY, study


def _study(text: str) -> str:
    if not is_id(text):
        raise click.BadParameter("a study's id has 32 hexadecimal digits", param_hint="--study")
    return text


def _patient_id() -> str:
    given = str(click.prompt("Patient ID", hide_input=True)) if sys.stdin.isatty() else sys.stdin.readline()
    if not given.strip():
        raise click.ClickException("no Patient ID was given")
    return given.strip()


def _expired_count(deployment: Deployment, site: str) -> str:
    if not deployment.retention_days(site):
        return "kept for ever"
    studies, batches = expired_studies(deployment, site), expired_batches(deployment, site)
    return f"{len(studies)} studies and {len(batches)} empty batches to delete"
