"""A real PostgreSQL for the tests, from Debian's binaries: started when first needed, ended with the tests.

It runs as an unprivileged user (it refuses to run as root), listens on a Unix socket in a temporary folder only, and
does not sync: what it holds is thrown away.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

_FOLDER = Path("/usr/lib/postgresql")
_OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=64MB", "listen_addresses=")


def missing() -> str:
    """Why there is none here; ``""`` if one can be started."""
    if _binaries() is None:
        return f"no PostgreSQL in {_FOLDER} (Debian's package postgresql)"
    if os.getuid() == 0 and not shutil.which("setpriv"):
        return "no setpriv to run PostgreSQL as another user than root"
    return ""


@contextmanager
def running() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database."""
    binaries = _binaries()
    assert binaries is not None
    # Short: a Unix socket's path may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="fai-pg-"))
    try:
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        data, log = folder / "data", folder / "log"
        _run(str(binaries / "initdb"), "-D", str(data), "-U", "test", "--auth=trust", "--no-sync", "--encoding=UTF8")
        options = " ".join(f"-c {option}" for option in (*_OPTIONS, f"unix_socket_directories={folder}"))
        _run(str(binaries / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://test@/postgres?host={quote(str(folder), safe='')}"
        finally:
            _run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    found = sorted(_FOLDER.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _run(*command: str) -> None:
    if os.getuid() == 0:
        command = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", timeout=60)
    if done.returncode:
        raise RuntimeError(f"{command[-1]}: {done.stdout}{done.stderr}")
