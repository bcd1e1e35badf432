"""``fractureai watch``: take what others put into a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from fractureai.client import Client
from fractureai.commands.files import group_option, sorting_of
from fractureai.commands.submit import api_key
from fractureai.commands.watch_folder import Inbox
from fractureai.commands.watch_work import Watch
from fractureai.domain.names import safe_name
from fractureai.errors import TransientFailure

_MOST_PAUSE_S = 60.0


@click.command(short_help="Take what others put into a folder.")
@click.argument("folder", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@group_option
@click.option("--every", "every_s", default=5.0, show_default=True, help="Seconds between two looks.")
@click.option(
    "--settle", "settle_s", default=15.0, show_default=True, help="Seconds without a change that make a file complete."
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Read the files here and now, without a service, and leave reports and pictures in this folder.",
)
@click.option("--once", is_flag=True, help="Return when everything that lies there is dealt with.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the API key, where the service asks for one; else FRACTUREAI_API_KEY.",
)
def watch(
    folder: Path,
    url: str,
    group: str,
    every_s: float,
    settle_s: float,
    out_dir: Path | None,
    *,
    once: bool,
    key_file: Path | None,
) -> None:
    """Send what is put into FOLDER to a service, such as the export of an archive.

    A file or folder is taken when it has not changed for a while; names that begin with a dot or end in .part, .tmp
    and the like are left alone. When its studies are final a file goes to FOLDER/done, or to FOLDER/rejected with the
    reason beside it. Stopped or killed at any moment it goes on where it was; what was read once is not read again.
    Folders of network drives do as well. Run one watch a folder.

    Exit code 0: stopped by you, or with --once: all done. 4: with --once: the service is away.
    """
    inbox, sorting = Inbox(folder.resolve(), settle_s, _tell), sorting_of(group)
    click.echo(f"Watching {safe_name(str(folder))}; Ctrl-C stops it.")
    if out_dir is not None:
        from fractureai.commands.watch_here import WatchHere

        _watch(WatchHere(inbox, sorting, out_dir, _tell).round, every_s, once=once)
        return
    with Client(url, key=api_key(key_file, url)) as client:
        _watch(Watch(inbox, client, sorting, _tell).round, every_s, once=once)


def _watch(look: Callable[[float], bool], every_s: float, *, once: bool) -> None:
    pause_s = every_s
    while True:
        try:
            if not look(time.monotonic()) and once:
                return
            pause_s = every_s
        except TransientFailure as failure:
            if once:
                raise
            _tell(f"waiting: {failure}")
            pause_s = min(2 * pause_s, max(_MOST_PAUSE_S, every_s))
        time.sleep(pause_s)


def _tell(what: str) -> None:
    click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {what}")
