"""``fractureai submit``: send files to a running service."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fractureai.client import BY_FILE, LONGEST_WAIT_S, Client, ServerRefused, Sorting
from fractureai.commands.files import expand, group_option, paths_argument, say_left_out, sorting_of
from fractureai.commands.table import exit_code, print_results
from fractureai.resumable import FILES_AN_UPLOAD, NothingToSend, Patience, ResumableUpload
from fractureai.settings import API_KEY_VARIABLE, LOOPBACK_HOSTS

_LEAST_PAUSE_S = 0.2


@click.command(short_help="Send files to a running service.")
@paths_argument
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--label", default="", help="What to call the batch.")
@group_option
@click.option("--wait", is_flag=True, help="Wait until every study is final and print the results.")
@click.option("--patience", "patience_s", default=300.0, show_default=True, help="Seconds to wait for a lost service.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the API key, where the service asks for one; else FRACTUREAI_API_KEY.",
)
@click.option("--json", "as_json", is_flag=True, help="With --wait: one JSON object a line and study.")
@click.pass_context
def submit(
    context: click.Context,
    paths: tuple[Path, ...],
    url: str,
    label: str,
    group: str,
    *,
    wait: bool,
    patience_s: float,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Send radiographs to a FractureAI service.

    A line that breaks is waited for. After an interruption the same command goes on where it stopped, for a day.

    Without --wait it prints where to look and returns as soon as the service has taken responsibility. Exit code 0:
    accepted (with --wait: every study was read). 1: some files could not be sent, or studies were rejected or failed.
    4: the service is away.
    """
    sorting = sorting_of(group)
    selection = expand(paths)
    console = Console(stderr=as_json)
    with Client(url, key=api_key(key_file, url)) as client:
        batches, unsent = send(client, selection.files, label, console, patience_s, sorting)
        say_left_out([*selection.left_out, *unsent], selection.skipped, partial(click.echo, err=True))
        is_incomplete = bool(selection.left_out or unsent)
        if not wait:
            for batch_id in batches:
                click.echo(f"{url.rstrip('/')}/batches/{batch_id}")
            context.exit(int(is_incomplete))
        follow(client, batches, console, patience_s)
        results, refused, skipped = outcome_of(client, batches)
    if as_json:
        for result in results:
            click.echo(json.dumps(result, ensure_ascii=False))
    else:
        print_results(results, console)
    say_left_out(refused, skipped, partial(click.echo, err=True))
    context.exit(exit_code(results) or int(is_incomplete))


def api_key(key_file: Path | None, url: str) -> str | None:
    """The key to come with; never from the command line, where other users of the machine could read it."""
    text = key_file.read_text(encoding="utf-8", errors="replace") if key_file else os.environ.get(API_KEY_VARIABLE, "")
    key = text.strip()
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise click.BadParameter("that is no key: one line that begins with fai_", param_hint="--key-file")
    parts = urlsplit(url)
    if key and parts.scheme != "https" and parts.hostname not in LOOPBACK_HOSTS:
        click.echo(f"warning: the key and the radiographs travel unencrypted to {parts.hostname}", err=True)
    return key or None


def send(
    client: Client,
    files: list[tuple[str, Path]],
    label: str,
    console: Console,
    patience_s: float = 60.0,
    sorting: Sorting = BY_FILE,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Send files, many as several batches.

    Returns
    -------
    The batches' ids, and the files that were not sent with the reason.

    Raises
    ------
    ServerRefused
        If nothing at all was sent.
    """
    batches: list[str] = []
    unsent: list[tuple[str, str]] = []
    nothing: ServerRefused | None = None
    with _progress(console) as progress:
        task = progress.add_task("Sending", total=len(files))
        patience = Patience(patience_s, lambda failure: progress.console.print(f"[dim]waiting: {escape(str(failure))}"))
        for start in range(0, len(files), FILES_AN_UPLOAD):
            part = files[start : start + FILES_AN_UPLOAD]
            upload = ResumableUpload(
                client, part, label=label, sorting=sorting, progress=lambda count: progress.advance(task, count)
            )
            try:
                batches.append(upload.send(patience))
            except NothingToSend as refusal:
                nothing = refusal
            unsent += upload.refused
    if nothing is not None and not batches:
        raise nothing
    return batches, unsent


def follow(
    client: Client,
    batches: list[str],
    console: Console,
    patience_s: float = 60.0,
    check: Callable[[], object] = lambda: None,
) -> None:
    """Show progress until every batch is finished; ``check`` is called in between, and may raise."""
    patience = Patience(patience_s)
    known = {batch_id: patience.use(lambda batch_id=batch_id: client.batch(batch_id)) for batch_id in batches}
    with _progress(console) as progress:
        task = progress.add_task("Analyzing", total=None)
        while True:
            check()
            studies = sum(state.studies for state in known.values())
            done = sum(state.closed_studies for state in known.values())
            progress.update(task, total=studies or None, completed=done)
            unfinished = [state for state in known.values() if not state.finished]
            if not unfinished:
                return
            first = unfinished[0]
            asked = time.monotonic()
            known[first.batch_id] = patience.use(
                lambda first=first: client.batch(first.batch_id, wait_s=LONGEST_WAIT_S, known=first)
            )
            # The server answers at once where it has no place to wait; then the pause is here.
            time.sleep(max(0.0, _LEAST_PAUSE_S - (time.monotonic() - asked)))


def outcome_of(
    client: Client, batches: list[str]
) -> tuple[list[dict[str, Any]], list[tuple[str, str]], dict[str, int]]:
    """What became of finished batches: results as in ``result.json``, files left out with the sentence why, and what
    was skipped, by kind.
    """
    results = [result for batch_id in batches for result in results_of(client, batch_id)]
    states = [client.batch(batch_id) for batch_id in batches]
    refused = [entry for state in states for entry in state.rejected_uploads]
    skipped: Counter[str] = Counter()
    for state in states:
        skipped.update(state.skipped)
    return results, refused, skipped


def results_of(client: Client, batch_id: str) -> list[dict[str, Any]]:
    """The results of a finished batch, as in ``result.json``."""
    return [client.study(study["study_id"])["result"] for study in client.studies_of(batch_id)]


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
