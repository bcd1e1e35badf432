"""A small HTTP server beside the work: metrics for Prometheus, health and readiness for whoever starts processes."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from fractureai.errors import BrokenDeployment

Checks = Mapping[str, Callable[[], str]]
"""By name: ``"ok"``, or a word for what is wrong."""

_IDLE_S = 30


class Exporter:
    """Serves in a thread of its own, until :meth:`close` or the end of the process.

    Parameters
    ----------
    host, port:
        Where to listen; port 0 for a free one.
    registry:
        What ``/metrics`` shows.
    alive:
        What ``/healthz`` asks: a process for which one is not ``ok`` should be started anew.
    ready:
        What ``/readyz`` asks beside: a process for which one is not ``ok`` should be left alone for a while.

    Raises
    ------
    BrokenDeployment
        If the port is taken.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, *, alive: Checks | None = None,
        ready: Checks | None = None,
    ) -> None:  # fmt: skip
        answers = _Answers(registry, alive or {}, ready or {})
        try:
            self._server = _Server((host, port), answers)
        except OSError as error:
            raise BrokenDeployment(f"cannot serve metrics on {host}:{port}: {error.strerror}") from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="exporter", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Answers:
    def __init__(self, registry: CollectorRegistry, alive: Checks, ready: Checks) -> None:
        self._registry = registry
        self._checks = {"/healthz": alive, "/readyz": {**alive, **ready}}

    def to(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
        if path not in self._checks:
            return HTTPStatus.NOT_FOUND, "text/plain", b"metrics, healthz and readyz are here\n"
        found = {name: check() for name, check in self._checks[path].items()}
        well = all(state == "ok" for state in found.values())
        body = json.dumps({"status": "ok" if well else "unavailable", **found}).encode()
        return (HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE), "application/json", body


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A scrape more or less is no reason to hold up the end of the process.
    block_on_close = False

    def __init__(self, address: tuple[str, int], answers: _Answers) -> None:
        self.answers = answers
        super().__init__(address, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer."""
        status, media_type, body = self.server.answers.to(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Nobody need know what serves."""
        return "fractureai"

    def log_message(self, *_: object) -> None:
        """Scrapes are not logged."""
