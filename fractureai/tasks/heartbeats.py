"""Which processes of an installation are alive: a key in the queue's server for each, gone some time after it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from fractureai.domain.records import SeenProcess
from fractureai.tasks.queue import translated

_KEPT_MS = 15 * 60 * 1000
"""So long a process that has died is still listed, as silent."""


class Heartbeats:
    """Writes and lists heartbeats. Raises ``TransientFailure`` if the queue's server is away."""

    def __init__(self, app: Celery, prefix: str) -> None:
        self._app = app
        self._prefix = f"{prefix}process:"

    def beat(self, name: str, role: str, *, software: str) -> None:
        """Write that this process is alive; ``name`` is its own, ``role`` what it does."""
        told = json.dumps({"role": role, "pid": os.getpid(), "software": software})
        with self._client() as client:
            client.execute_command("PSETEX", self._prefix + name, _KEPT_MS, told)

    def end(self, name: str) -> None:
        """Forget a process that ends as it should."""
        with self._client() as client:
            client.execute_command("UNLINK", self._prefix + name)

    def seen(self) -> list[SeenProcess]:
        """Every process that has beaten lately, by name."""
        with self._client() as client:
            found = [self._seen(client, key) for key in client.scan_iter(match=f"{self._prefix}*", count=1000)]
        return sorted((each for each in found if each is not None), key=lambda each: each.name)

    def _seen(self, client: Any, key: bytes) -> SeenProcess | None:
        # The server's own clock tells the age: those of the machines may differ.
        left_ms, text = client.execute_command("PTTL", key), client.execute_command("GET", key)
        try:
            told = json.loads(text)
            name = key.decode().removeprefix(self._prefix)
            age_s = (_KEPT_MS - int(left_ms)) / 1000
            return SeenProcess(name, str(told["role"]), int(told["pid"]), str(told["software"]), age_s)
        except (TypeError, ValueError, KeyError):  # it ended between the questions, or is none of ours
            return None

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with (
            translated(),
            self._app.connection_for_read() as connection,
            connection.default_channel.conn_or_acquire() as client,
        ):
            yield client
