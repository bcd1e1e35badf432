"""The real service: its own Redis, workers, scheduler and web, started once for all tests of this folder."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fractureai.client import Client
from fractureai.commands.serve import settings_for
from fractureai.embedded.service import RunningService, embedded_service
from tests.integration.pickle_watch import watching
from tests.processes import free_port

WEBHOOK_SECRET = b"only for the tests, not a secret"
_ENVIRONMENT = {
    # A killed worker's study is taken up again after its lease; tests should not wait minutes for that.
    "FRACTUREAI_WORK__LEASE_S": "8",
    "FRACTUREAI_WORK__RECONCILE_EVERY_S": "0.5",
}


@dataclass(frozen=True)
class Ports:
    """Where DICOM is spoken: the service's listener, and an archive that a test may start."""

    listener: int
    archive_dicom: int
    archive_http: int


@dataclass(frozen=True)
class Service:
    """A running service and a client of it.

    Attributes
    ----------
    told:
        What its webhook has posted: headers and body of each message.
    dicom:
        Where DICOM is spoken.
    pickles:
        What pickles its processes have loaded; see :mod:`tests.integration.pickle_watch`.
    """

    running: RunningService
    client: Client
    dicom: Ports
    pickles: Path
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.running.url


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    secret = tmp_path_factory.mktemp("secret") / "webhook"
    secret.write_bytes(WEBHOOK_SECRET)
    told: list[tuple[dict[str, str], bytes]] = []
    with contextlib.ExitStack() as running:
        url = running.enter_context(_receiver(told))
        webhook = {"FRACTUREAI_WEBHOOK__URL": url, "FRACTUREAI_WEBHOOK__SECRET_FILE": str(secret)}
        ports = Ports(free_port(), free_port(), free_port())
        dicom = _dicom(ports, tmp_path_factory.mktemp("peers"))
        # For the service's processes only: other tests of this run must not find it in their environment.
        pickles = tmp_path_factory.mktemp("pickles")
        with _environment(_ENVIRONMENT | webhook | dicom | watching(pickles)):
            settings = settings_for(tmp_path_factory.mktemp("service"), "127.0.0.1", free_port())
            started = running.enter_context(embedded_service(settings))
        yield Service(started, running.enter_context(Client(started.url)), ports, pickles, told)


def _dicom(ports: Ports, folder: Path) -> dict[str, str]:
    """A listener, and an archive that has its results by DIMSE for one site and by DICOMweb for another."""
    (folder / "password").write_text("results:a secret\n")
    peers = folder / "peers.toml"
    peers.write_text(f"""
[[caller]]
ae_title = "ORTHANC"
address = "127.0.0.1"
site = "by-dimse"

[[caller]]
ae_title = "WEBSIDE"
site = "by-web"

[[caller]]
ae_title = "HOSTILE"
site = "local"

[[destination]]
name = "archive"
kind = "dimse"
site = "by-dimse"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {ports.archive_dicom}
check = "required"

[[destination]]
name = "archive-web"
kind = "dicomweb"
site = "by-web"
url = "http://127.0.0.1:{ports.archive_http}/dicom-web"
auth = "basic"
auth_file = "{folder / "password"}"
check = "required"
""")
    return {
        "FRACTUREAI_DICOM__PORT": str(ports.listener),
        "FRACTUREAI_DICOM__PEERS_FILE": str(peers),
        "FRACTUREAI_DICOM__QUIET_S": "1",
        "FRACTUREAI_DICOM__BACKOFF_S": "1",
    }


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@contextlib.contextmanager
def _receiver(told: list[tuple[dict[str, str], bytes]]) -> Iterator[str]:
    """Whoever is told of finished studies: takes everything, and keeps it."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write(folder: Path, files: dict[str, bytes]) -> list[tuple[str, Path]]:
    """Put files on disk, as a client has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [(name, folder / name) for name in files]
