"""``fractureai serve``: every process of the service, from one command."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from fractureai.embedded.service import embedded_service, watch
from fractureai.settings import Settings, load_settings


@click.command(short_help="Start everything on this machine.")
@click.option("--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="The data folder.")
@click.option("--host", help="Address to listen on; by default this machine only.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web pages and the API.")
def serve(data_dir: Path | None, host: str | None, port: int | None) -> None:
    """Start the whole service: its own Redis, workers, scheduler and web server, in one data folder.

    Ctrl-C stops it all; what was accepted goes on when it is started again. A process that dies is restarted; one
    that cannot stay up ends the command with its last words.

    Exit code 0: stopped by you. 3: something could not be started.
    """
    settings = settings_for(data_dir, host, port)
    console = Console()
    _stop_on_signals()
    console.print("Starting Redis, workers and web…", style="dim")
    try:
        with embedded_service(settings) as service:
            console.print(f"FractureAI is at [bold]{service.url}[/bold] – data in {service.data_dir} – Ctrl-C stops it")
            console.print("Not for diagnostic use.", style="dim")
            with _announced_stop(console):
                watch(service)
    except KeyboardInterrupt:
        console.print("Stopped.")


@contextlib.contextmanager
def _announced_stop(console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopping; running work is finished or given back…")
        raise


def settings_for(data_dir: Path | None, host: str | None, port: int | None) -> Settings:
    """The settings, with what was said on the command line on top."""
    base = load_settings()
    web = base.web.model_copy(
        update={name: value for name, value in (("host", host), ("port", port)) if value is not None}
    )
    return base.model_copy(update={"web": web} | ({"data_dir": data_dir} if data_dir else {}))


def _stop_on_signals() -> None:
    """A plain ``kill`` stops the service as Ctrl-C does, also where a shell's ``&`` has switched Ctrl-C off."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)
