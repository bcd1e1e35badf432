"""What the web is handed when it is built, and how a request reaches it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import current_app, g, url_for

from fractureai.domain.access import Gate, Principal
from fractureai.domain.ports import FhirWriter, InstanceReader, Ledger, Models, ObjectStore, Queue
from fractureai.domain.study import check_id, check_site
from fractureai.stages.ports import WorkPolicy
from fractureai.web.data_flows import DataFlows

_MIB = 1024 * 1024
EXTENSION = "fractureai"


@dataclass(frozen=True, slots=True)
class WebPorts:
    """All the web may reach: it accepts and shows, and never decodes or infers. Of ``models`` it reads the cards.

    Without ``access`` it asks nobody who they are, and answers its own machine only. ``file_name`` gives files other
    names, by site and name, where images are de-identified on the way in. ``processes`` gives the state of each worker
    process of a service on one machine, by name; ``ok`` if it is well.
    """

    store: ObjectStore
    ledger: Ledger
    queue: Queue
    models: Models
    clock: Callable[[], float]
    new_id: Callable[[], str]
    policy: WorkPolicy = field(default_factory=WorkPolicy)
    access: Gate | None = None
    fhir: FhirWriter | None = None
    instances: InstanceReader | None = None
    file_name: Callable[[str, str], str] | None = None
    processes: Callable[[], Mapping[str, str]] = dict


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The web's settings, as values.

    Attributes
    ----------
    secret_key:
        Signs the receipts of uploaded files. All processes of one service must share it; a random one serves a single
        process until it ends.
    max_request_bytes, max_file_bytes, max_files:
        Limits of one upload request.
    max_upload_files:
        Files of one upload that is sent file by file.
    max_open_studies:
        When this many studies are open, new work is refused with 429 until some are finished.
    max_waiters:
        Requests that may wait for news at a time; each holds a thread, so fewer than there are threads.
    trusted_hosts:
        Host names the service answers to; empty for any. A service without a log-in that listens on loopback needs
        them: a page elsewhere could otherwise point its own name at 127.0.0.1 and read results (DNS rebinding).
    upload_token_s:
        How long an upload file by file may be gone on with.
    direct_download_s:
        How long the address is good by which a report or result is fetched from the store itself; 0: through us.
    proxies:
        Reverse proxies in front, whose ``X-Forwarded-For`` and ``-Proto`` are believed.
    data_flows:
        Where data go, for what the pages say of it.
    public_base_url:
        Scheme, host and port under which people reach the service, where that differs from what requests say.
    """

    software_version: str
    secret_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    site: str = "local"
    public_base_url: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    max_request_bytes: int = 2048 * _MIB
    max_file_bytes: int = 256 * _MIB
    max_files: int = 500
    max_upload_files: int = 5000
    max_open_studies: int = 100_000
    max_waiters: int = 4
    upload_token_s: float = 3 * 24 * 3600.0
    proxies: int = 0
    direct_download_s: int = 0
    data_flows: DataFlows = field(default_factory=DataFlows)

    def __post_init__(self) -> None:
        check_site(self.site)
        if len(self.secret_key) < 16:
            raise ValueError("the secret key needs at least 16 bytes")


@dataclass(frozen=True, slots=True)
class Web:
    """Ports and settings of one application, and the places for requests that wait."""

    ports: WebPorts
    settings: WebSettings
    waiters: threading.BoundedSemaphore


def web() -> Web:
    """The ports and settings of the application that serves this request."""
    found = current_app.extensions[EXTENSION]
    if not isinstance(found, Web):
        raise TypeError("the application was not built by create_app")
    return found


def site() -> str:
    """Whose data this request may see: the one place that says so. Every look into ledger and store goes through it."""
    return principal().site


def principal() -> Principal:
    """Who asks; ``fractureai.web.admission`` has found out before any code of a route runs."""
    found = g.get("principal")
    if not isinstance(found, Principal):
        raise TypeError("nobody was let in to this request")
    return found


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of our ids."""
    try:
        check_id(text)
    except ValueError:
        return False
    return True


def link(endpoint: str, **values: object) -> str:
    """The address of an endpoint: relative, or absolute where the public address is configured.

    Never made from the request's ``Host`` header, which the sender chooses.
    """
    path = url_for(endpoint, **values)  # type: ignore[arg-type]
    base = web().settings.public_base_url
    if base is None:
        return path
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}{path}"
