"""A served application and a real browser. Without Chromium, its driver and selenium these tests are skipped."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import request
from werkzeug.serving import WSGIRequestHandler, make_server

from fractureai.web.app import WebPorts
from fractureai.web.problems import Problem
from fractureai.web.upload import drain
from tests.browser.samples import fill, open_app, open_ports

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


class Quiet(WSGIRequestHandler):
    def log(self, *_: object, **__: object) -> None:
        """The requests of a test need no log."""


@dataclass
class Site:
    """What is served, and where."""

    url: str
    ports: WebPorts
    pages: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Method and address of everything that was asked for."""
    refused: dict[str, str] = field(default_factory=dict)
    """Files to refuse, by the end of their names (``*`` for any), and with which problem."""

    @property
    def begun(self) -> int:
        """How many uploads were begun."""
        return sum(entry == "POST /api/v1/uploads" for entry in self.requests)

    def watch(self) -> None:
        """Before every request."""
        self.requests.append(f"{request.method} {request.path}")
        if request.endpoint != "api.upload_file":
            return
        for name, code in self.refused.items():
            if name == "*" or request.headers["Content-Disposition"].endswith(name):
                drain(request)
                raise Problem(code)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    ports = open_ports(tmp_path_factory.mktemp("site"))
    names = ("predict", "worklist", "features", "models", "faq", "nothing")
    served = Site("", ports, fill(ports) | {"home": "/"} | {n: f"/{n}" for n in names})
    app = open_app(ports)
    app.before_request(served.watch)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    served.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
    ports.ledger.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def picture_folder() -> Path | None:
    """Where pictures of the pages are kept for looking at; ``TEST_PICTURES`` names the folder."""
    named = os.environ.get("TEST_PICTURES")
    if not named:
        return None
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
