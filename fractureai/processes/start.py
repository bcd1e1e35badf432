"""What every process does first: configure the logs, build its parts, take a name and a heartbeat."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable

from fractureai.bootstrap import Deployment
from fractureai.errors import TransientFailure
from fractureai.logs import configure_logging
from fractureai.metrics.processes import process_meters
from fractureai.settings import Settings, load_settings

_LOG = logging.getLogger(__name__)

_BEAT_EVERY_S = 10.0
_LOOK_EVERY_S = 0.5
_MOST_OF_A_ROLE = 1000
_HELD: list[socket.socket] = []


def deployment(name: str) -> Deployment:
    """Build the deployment of a process by the settings of its environment; ``name`` labels its counts."""
    return deployment_of(load_settings(), name)


def deployment_of(settings: Settings, name: str) -> Deployment:
    """Configure the logs and build the deployment of a process; ``name`` labels its counts."""
    configure_logging(style=settings.log_format, level=settings.log_level)
    return Deployment(settings, process_meters(name, settings.metrics.dir))


def process_name(role: str) -> str:
    """``inference-1@host``: with the first number that no other process of this role on this machine has.

    It is held by an abstract Unix socket until the process ends. Process ids will not do: Celery leaves a list in the
    queue for the name of every worker that was killed, and a name that comes again uses it again.
    """
    held = socket.socket(socket.AF_UNIX)
    for number in range(1, _MOST_OF_A_ROLE):
        with contextlib.suppress(OSError):
            held.bind(f"\0fractureai-{role}-{number}")
            _HELD.append(held)
            return f"{role}-{number}@{socket.gethostname()}"
    return f"{role}-{os.getpid()}@{socket.gethostname()}"


def keep_beating(built: Deployment, name: str, role: str, well: Callable[[], bool] = lambda: True) -> None:
    """Write a heartbeat every ten seconds in a thread of its own, until this process ends; none while not ``well``."""
    if not built.settings.queue.url:
        return
    stop = threading.Event()

    def beat() -> None:
        while True:
            alive = well()
            if alive:
                try:
                    built.heartbeats.beat(name, role, software=built.software_version)
                except TransientFailure as failure:
                    _LOG.debug("no heartbeat: %s", failure)
            if stop.wait(_BEAT_EVERY_S if alive else _LOOK_EVERY_S):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()

    @atexit.register
    def end() -> None:
        if os.getpid() != owner:  # a fork's end is not this process's
            return
        stop.set()
        with contextlib.suppress(TransientFailure):
            built.heartbeats.end(name)

    owner = os.getpid()
