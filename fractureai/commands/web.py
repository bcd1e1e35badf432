"""``fractureai web``: the web process alone, where queue, ledger and store are elsewhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from fractureai.bootstrap import Deployment
from fractureai.commands.serve import settings_for
from fractureai.embedded.service import gunicorn_command


@click.command(short_help="Start the web process alone.")
@click.option("--host", help="Address to listen on; by default this machine only.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web pages and the API.")
def web(host: str | None, port: int | None) -> None:
    """Start pages and API against the queue, ledger and store of the settings. More of them behind a balancer are fine.

    SIGTERM finishes running requests (20 s at most) and ends it.
    """
    settings = settings_for(None, host, port)
    # Said here in one sentence, not by a traceback of the server.
    deployment = Deployment(settings)
    if deployment.gate is not None:
        deployment.check_access()
        deployment.ledger.close()
    # The process that is started reads the settings itself; what was said here must reach it.
    os.environ |= {"FRACTUREAI_WEB__HOST": settings.web.host, "FRACTUREAI_WEB__PORT": str(settings.web.port)}
    command = gunicorn_command(settings, Path(tempfile.gettempdir()))
    os.execv(command[0], command)  # noqa: S606 it takes this process's place, signals and all
