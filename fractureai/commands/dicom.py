"""``fractureai dicom``: listen, and look after the destinations of results."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fractureai.bootstrap import Deployment
from fractureai.commands.serve import settings_for
from fractureai.dicom.peers import Destination
from fractureai.domain.records import Channel, Delivery, DeliveryState
from fractureai.errors import TransientFailure
from fractureai.processes import listener
from fractureai.stages import deliver

_MOST = 1000
_HOLD_S = 600.0
"""While a person's own command sends, the scheduler leaves the delivery alone."""

data_option = click.option(
    "--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder of the service."
)


@click.group(short_help="Receive images and send results by DICOM.")
def dicom() -> None:
    """Receive images from modalities and archives, and send results to them.

    Who may send and where results go stands in the peers file (FRACTUREAI_DICOM__PEERS_FILE; docs/dicom.md).
    """


@dicom.command()
@data_option
@click.option("--port", type=click.IntRange(1, 65535), help="By default that of the settings, or 11112.")
def listen(data_dir: Path | None, port: int | None) -> None:
    """Take images by C-STORE until stopped, beside a service that reads them.

    `fractureai serve` does this itself if FRACTUREAI_DICOM__PORT is set.
    """
    settings = settings_for(data_dir, None, None)
    listener.run(
        settings,
        port=port,
        announce=lambda where: click.echo(f"Listening as {settings.dicom.ae_title} on {where}; Ctrl-C stops it."),
    )


@dicom.command()
def peers() -> None:
    """Show the peers file as it was understood."""
    known = Deployment(settings_for(None, None, None)).peers
    for caller in known.caller:
        who = caller.ae_title or "any AE title"
        click.echo(f"caller       {who} from {caller.address or 'any address'}: site {caller.site}")
    for each in known.destination:
        click.echo(f"destination  {_shown(each)}")
    if not known.caller:
        click.echo("callers: everybody who can reach the listener")
    if not known.destination:
        click.echo("destinations: none")


@dicom.command()
@click.argument("name")
@click.pass_context
def echo(context: click.Context, name: str) -> None:
    """Ask a destination whether it is there: C-ECHO, or a small DICOMweb query.

    Exit code 0: it answers. 3: there is no such destination. 4: it does not answer.
    """
    deployment = Deployment(settings_for(None, None, None))
    chosen = deployment.peers.named(name)
    try:
        deployment.sender.echo(name)
    except TransientFailure as failure:
        click.echo(f"{_shown(chosen)} does not answer: {failure.detail}", err=True)
        context.exit(4)
    click.echo(f"{_shown(chosen)} answers")


@dicom.command()
@data_option
@click.option("--site", help="Whose studies; by default the site of the settings.")
@click.argument("name")
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True)
@click.pass_context
def send(context: click.Context, data_dir: Path | None, site: str | None, name: str, studies: tuple[str, ...]) -> None:
    """Send the results of finished studies to a destination now, again if they were sent before.

    Exit code 0: everything was taken. 1: something was not; what a fresh try may mend is tried again of itself.
    """
    settings = settings_for(data_dir, None, None)
    deployment = Deployment(settings)
    subscriber = deployment.peers.named(name).subscriber
    here = site or settings.site
    failed = False
    for study_id in studies:
        now = deployment.clock()
        delivery_id = None
        if re.fullmatch("[0-9a-f]{32}", study_id):
            delivery_id = deployment.ledger.send_study(
                study_id, subscriber, site=here, now_s=now, due_at_s=now + _HOLD_S
            )
        if delivery_id is None:
            click.echo(f"{study_id}: there is no finished study of that id at site {here}, or it is being sent")
            failed = True
            continue
        outcome = deliver.run(delivery_id, deployment)
        objects = deployment.ledger.delivered_objects(delivery_id)
        for each in objects:
            click.echo(f"{study_id}: {each.name} {each.state}" + (f" ({each.detail})" if each.detail else ""))
        if outcome == "done" and not objects:
            click.echo(f"{study_id}: nothing to send: the study did not come as DICOM")
        if outcome == "superseded":
            click.echo(f"{study_id}: not sent: a later image made a newer revision, whose results are sent")
        elif outcome != "done":
            error = _error_of(deployment, delivery_id, here)
            click.echo(f"{study_id}: not sent: {error}")
        failed = failed or outcome != "done"
    context.exit(int(failed))


@dicom.command()
@data_option
@click.option("--site", help="Whose; by default the site of the settings.")
@click.option("--resend", is_flag=True, help="Have those that were given up tried again, at once.")
@click.pass_context
def undelivered(context: click.Context, data_dir: Path | None, site: str | None, *, resend: bool) -> None:
    """List results that have not reached their destination, the newest first.

    Exit code 0: there are none. 1: there are some.
    """
    settings = settings_for(data_dir, None, None)
    deployment = Deployment(settings)
    here = site or settings.site
    rows = _undelivered(deployment, here)
    again = 0
    for row in rows:
        state = "given up" if row.state is DeliveryState.GIVEN_UP else "waiting"
        error = f": {row.last_error}" if row.last_error else ""
        click.echo(f"{row.study_id}  {row.destination}  {state} after {row.attempts} attempts{error}")
        if resend:
            again += deployment.ledger.retry_delivery(row.delivery_id, site=here, now_s=deployment.clock())
    if not rows:
        click.echo("every result has reached its destination")
    elif resend:
        click.echo(f"{again} are tried again as soon as the scheduler comes round")
    context.exit(int(bool(rows) and not resend))


def _undelivered(deployment: Deployment, site: str) -> list[Delivery]:
    rows = deployment.ledger.undelivered(site=site, limit=_MOST)
    return [row for row in rows if row.channel is Channel.DICOM]


def _error_of(deployment: Deployment, delivery_id: str, site: str) -> str:
    rows = (row for row in _undelivered(deployment, site) if row.delivery_id == delivery_id)
    found = next(rows, None)
    return found.last_error if found else "somebody else is sending it"


def _shown(each: Destination) -> str:
    return f"{each.name} ({each.kind}, {each.where})"
