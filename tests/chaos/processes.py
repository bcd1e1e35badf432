"""Keeps processes alive as an orchestrator does, and kills them as fate does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import family

_RESTART_AFTER_S = 0.5


@dataclass
class Child:
    """One process, started again whenever it ends."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    held: bool = False

    def start(self) -> None:
        """Begin it, in a session of its own so that all below it can be ended with it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=dict(self.environment), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.starts += 1

    def family(self) -> list[int]:
        """Its process id and those of all below it."""
        return family(self.process.pid) if self.process else []

    def signal_all(self, number: int) -> None:
        """To it and all below it at once."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@dataclass
class Keeper:
    """Watches over children in a thread."""

    children: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start all, and from now on start again what ends."""
        for child in self.children:
            child.start()
        self._thread.start()

    def named(self, prefix: str) -> list[Child]:
        """The children whose name begins so."""
        return [child for child in self.children if child.name.startswith(prefix)]

    def stop(self, *, patience_s: float = 30.0) -> None:
        """End all: politely, then by force, also what a killed parent has left behind."""
        self._ending.set()
        self._thread.join()
        for child in self.children:
            if child.process and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + patience_s
        for child in self.children:
            if child.process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, deadline - time.monotonic()))
            self._clear(child)

    def _watch(self) -> None:
        while not self._ending.wait(0.1):
            for child in self.children:
                if child.process is not None and child.process.poll() is not None and not child.held:
                    self._clear(child)
                    if self._ending.wait(_RESTART_AFTER_S):
                        return
                    child.start()

    @staticmethod
    def _clear(child: Child) -> None:
        """An orchestrator ends a container with all that is in it."""
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
