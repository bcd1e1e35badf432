from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fractureai.errors import TransientFailure
from fractureai.web.app import WebPorts
from tests.browser.samples import open_app, open_ports


class Away:
    """A port whose other side does not answer."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object, **__: object) -> None:
            raise TransientFailure(self._code)

        return refuse


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[WebPorts]:
    opened = open_ports(tmp_path)
    yield opened
    opened.ledger.close()


@pytest.fixture
def app(ports: WebPorts) -> Flask:
    return open_app(ports)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def client_with(ports: WebPorts) -> Callable[..., FlaskClient]:
    """Make a client of the same service with some of its ports (by name) or settings (a mapping) changed."""

    def make(settings: dict[str, Any] | None = None, **changes: Any) -> FlaskClient:
        return open_app(dataclasses.replace(ports, **changes), **settings or {}).test_client()

    return make


@pytest.fixture
def away() -> type[Away]:
    """Makes a port that is away: ``away("store_unavailable")``."""
    return Away
