"""The processes of the embedded service under supervisord: what runs, in which order, and how it is watched."""

from __future__ import annotations

import configparser
import http.client
import io
import os
import shlex
import sys
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from fractureai.errors import AT_FAULT, CANNOT_WORK


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep alive.

    Attributes
    ----------
    foundation:
        Starts before the others and stops after them; the others stop together.
    stop_wait_s:
        Between the polite signal and the kill; longer than a task may need to give its work back.
    """

    name: str
    command: Sequence[str]
    stop_wait_s: int = 30
    environment: Mapping[str, str] = field(default_factory=dict)
    foundation: bool = False


def supervisor_config(programs: Sequence[Program], *, run_dir: Path, log_dir: Path) -> str:
    """The text of ``supervisord.conf``."""
    config = configparser.RawConfigParser()
    config["unix_http_server"] = {"file": str(run_dir / "supervisor.sock"), "chmod": "0700"}
    config["supervisord"] = {
        "logfile": str(log_dir / "supervisord.log"),
        "pidfile": str(run_dir / "supervisord.pid"),
        "childlogdir": str(log_dir),
        "nodaemon": "true",
        "silent": "true",
        "user": str(os.getuid()),
    }
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    for program in programs:
        environment = ",".join(f'{name}="{_escaped(value)}"' for name, value in program.environment.items())
        config[f"program:{program.name}"] = {
            "command": _escaped(shlex.join(program.command)),
            "priority": "1" if program.foundation else "2",
            "environment": environment,
            # What ended because the installation is at fault is not restarted: its last words say what to mend.
            "autorestart": "unexpected",
            "exitcodes": f"{CANNOT_WORK},{AT_FAULT}",
            "startsecs": "2",
            "startretries": "5",
            "stopwaitsecs": str(program.stop_wait_s),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(log_dir / f"{program.name}.log"),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "3",
        }
    others = [program.name for program in programs if not program.foundation]
    config["group:application"] = {"programs": ",".join(others), "priority": "2"}
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def supervisord_command(config_file: Path) -> list[str]:
    """How supervisord is started in the foreground."""
    return [sys.executable, "-P", "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(config_file)]


class SupervisorClient:
    """Asks a running supervisord over its socket how the processes are."""

    def __init__(self, run_dir: Path) -> None:
        self._address = f"unix://{run_dir / 'supervisor.sock'}"

    def states(self) -> dict[str, str]:
        """State by program (``RUNNING``, ``STARTING``, ``BACKOFF``, ``FATAL`` …); empty if it does not answer."""
        return {str(entry["name"]): str(entry["statename"]) for entry in self._processes()}

    def pids(self) -> dict[str, int]:
        """Process ids of the programs that run."""
        return {str(entry["name"]): int(entry["pid"]) for entry in self._processes() if entry["pid"]}

    def _processes(self) -> list[dict[str, Any]]:
        # A connection of its own for each question: supervisor's transport does not recover from a refused one.
        transport = SupervisorTransport(None, None, self._address)
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
                answer: Any = server.supervisor.getAllProcessInfo()
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return []
        return list(answer)


def _escaped(value: str) -> str:
    return value.replace("%", "%%")
