"""``fractureai recover``: by hand, what the scheduler does by itself."""

from __future__ import annotations

from pathlib import Path

import click

from fractureai.bootstrap import Deployment
from fractureai.commands.serve import settings_for
from fractureai.stages import reconcile, tidy


@click.command(short_help="Have everything open tried again now.")
@click.option("--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder.")
def recover(data_dir: Path | None) -> None:
    """Make due at once everything open that no worker holds, waits after failures included, and put it on the queue.

    The scheduler does this by itself, in seconds for what the queue has lost; this is for whoever does not want to
    wait after an outage, or has no scheduler. Harmless beside a living service and as often as you like: what is on
    the queue twice is done once. What has failed for good stays so; retry it on its page or over the API.
    """
    built = Deployment(settings_for(data_dir, None, None))
    due = built.ledger.make_due(now_s=built.clock())
    sent = reconcile.run(built) if built.settings.queue.url else 0
    cleaned = tidy.run(built)
    click.echo(
        f"{due} open studies and batches are due now; {sent} were put on the queue, the scheduler sends the others in "
        f"their order; {built.ledger.open_count()} studies are open in all; {cleaned} leftovers were cleaned up"
    )
