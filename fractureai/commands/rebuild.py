"""``fractureai rebuild``: the ledger, made anew from the store."""

from __future__ import annotations

from pathlib import Path

import click

from fractureai import upkeep
from fractureai.bootstrap import Deployment
from fractureai.commands.serve import settings_for


@click.command(short_help="Make a lost ledger anew from the store.")
@click.option("--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder.")
@click.pass_context
def rebuild(context: click.Context, data_dir: Path | None) -> None:
    """Bring into the ledger every study the store holds and the ledger does not know.

    Runs beside a living service and as often as you like. Verdicts, histories and the audit come from the ledger's
    backup only. Exit code 0: all was read. 1: some documents in the store could not be read.
    """
    made = upkeep.rebuild(Deployment(settings_for(data_dir, None, None)))
    click.echo(
        f"{made['batches']} batches, {made['open_studies']} open and {made['ended_studies']} finished studies were "
        f"brought back, and {made['arrivals']} images that are no study yet; "
        f"{made['unreadable']} documents could not be read"
    )
    context.exit(int(made["unreadable"] > 0))
