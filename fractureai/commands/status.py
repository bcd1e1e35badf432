"""``fractureai status``: what runs, what waits, what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fractureai.bootstrap import Deployment
from fractureai.commands.serve import settings_for
from fractureai.domain.study import Stage
from fractureai.embedded.running import queue_url_of
from fractureai.errors import AWAY
from fractureai.status import FRESH_S, Status, look

_STYLES = {0: ("all well", "bold green"), 1: ("degraded", "bold yellow"), AWAY: ("away", "bold red")}


@click.command(short_help="Show what runs, what waits and what is broken.")
@click.option(
    "--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder of `serve`."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.pass_context
def status(context: click.Context, data_dir: Path | None, *, as_json: bool) -> None:
    """Show the processes of the installation with the age of their heartbeats, the length of the queues, open studies
    by stage, deliveries, and recent failures with their reasons.

    Works beside `serve` on the same machine, or anywhere with the settings of a distributed installation.

    Exit code 0: all well. 1: degraded; the problems are listed. 4: queue, ledger or store does not answer.
    """
    settings = settings_for(data_dir, None, None)
    if not settings.queue.url:
        queue = settings.queue.model_copy(update={"url": queue_url_of(settings.data_dir)})
        settings = settings.model_copy(update={"queue": queue})
    # One try is enough for a glance.
    store = settings.store.model_copy(update={"attempts": 1})
    found = look(Deployment(settings.model_copy(update={"store": store})))
    if as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        _show(found, Console())
    context.exit(found.exit_code)


def _show(found: Status, console: Console) -> None:
    console.print("FractureAI:", Text(*_STYLES[found.exit_code]))
    for problem in found.problems:
        console.print(f"- {problem}", markup=False)
    parts = Text(", ").join(
        Text(f"{name} {'ok' if state == 'ok' else 'NOT OK'}", "" if state == "ok" else "bold red")
        for name, state in found.parts.items()
    )
    console.print(parts)
    if found.processes:
        table = Table("process", "version", "last heartbeat", title="Processes", title_justify="left")
        for each in found.processes:
            style = "" if each.age_s <= FRESH_S else "bold red"
            table.add_row(each.name, each.software, f"{duration(each.age_s)} ago", style=style)
        console.print(table)
    if found.work is not None:
        console.print(_work(found))
        console.print(f"Deliveries: {found.deliveries_waiting} waiting, {found.deliveries_failed} failed")
    for failure in found.failures:
        ago = duration(found.at_s - failure.failed_at_s)
        console.print(f"Study {failure.study_id} ({failure.site}) failed {ago} ago:", markup=False)
        for reason in failure.reasons:
            console.print(f"  {reason}", markup=False)


def _work(found: Status) -> Table:
    table = Table(title="Work", title_justify="left")
    table.add_column("stage")
    for heading in ("in the queue", "open studies", "in work", "longest wait"):
        table.add_column(heading, justify="right")
    waiting = dict(found.depths.waiting) if found.depths else {}
    by_stage = {each.stage: each for each in found.work or ()}
    for stage in Stage:
        work = by_stage.get(stage)
        cells = (work.open_studies, work.leased, duration(found.oldest_s(work))) if work else (0, 0, "–")
        table.add_row(stage.value, str(waiting.pop(stage.value, "–")), *map(str, cells))
    for queue, number in waiting.items():
        table.add_row(queue, str(number), "", "", "")
    return table


def duration(seconds: float) -> str:
    """For people: 12 s, 4 min, 3 h, 2 d."""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
