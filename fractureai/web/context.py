"""What the web is handed when it is built, and how a request reaches it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import current_app, url_for

from fractureai.domain.ports import Ledger, Models, ObjectStore, Queue
from fractureai.domain.study import check_id, check_site
from fractureai.stages.ports import WorkPolicy

_MIB = 1024 * 1024
EXTENSION = "fractureai"


@dataclass(frozen=True, slots=True)
class WebPorts:
    """All the web may reach: it accepts and shows, and never decodes or infers. Of ``models`` it reads the cards."""

    store: ObjectStore
    ledger: Ledger
    queue: Queue
    models: Models
    clock: Callable[[], float]
    new_id: Callable[[], str]
    policy: WorkPolicy = field(default_factory=WorkPolicy)


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
    """Whose data this request may see. The one place that will ask who is logged in."""
    return web().settings.site


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
