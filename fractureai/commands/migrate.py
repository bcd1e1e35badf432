"""``fractureai migrate``: what must be there before the processes start."""

from __future__ import annotations

from pathlib import Path

import click

from fractureai import upkeep
from fractureai.bootstrap import Deployment
from fractureai.commands.serve import settings_for


@click.command(short_help="Bring ledger and store up to date, once, before the processes start.")
@click.option("--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder.")
@click.option("--create-bucket", is_flag=True, help="Make the S3 bucket if it is not there.")
def migrate(data_dir: Path | None, create_bucket: bool) -> None:
    """Bring the ledger's tables up to date and try the store with one small object.

    Runs as often as you like, also beside a living service. Exit code 0: the processes can start. 3: the installation
    is at fault. 4: ledger or store is away, try again.
    """
    made = upkeep.migrate(Deployment(settings_for(data_dir, None, None)), create_bucket=create_bucket)
    click.echo(f"{'The bucket was made. ' if made else ''}Ledger and store are ready.")
