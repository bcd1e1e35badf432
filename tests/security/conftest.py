"""A service that asks who comes, with studies of one site in it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fractureai.access.gate import AccessGate, SessionRules
from fractureai.access.keys import digest_of, new_key, new_key_id
from fractureai.access.limits import Budgets, Limiter, budgets_of
from fractureai.access.oidc import Provider
from fractureai.access.passwords import hash_of
from fractureai.domain.access import Account, ApiKey, Role, Scope
from fractureai.web.app import WebPorts
from tests.browser.samples import SITE, open_app, open_ports

PASSWORD = "a phrase nobody guesses"
_PLENTY = Budgets("100000/minute", "100000/minute", "100000/minute", "100000/minute")


@dataclass
class Hospital:
    """A closed service, its ports and the ways in."""

    ports: WebPorts
    app: Flask

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def ledger(self) -> Any:
        return self.ports.ledger

    def key(self, *scopes: Scope, site: str = SITE, days: float = 1, revoked: bool = False) -> dict[str, str]:
        """Headers with a fresh key."""
        text, now_s = new_key(), time.time()
        made = ApiKey(new_key_id(), site, "a test", frozenset(scopes), now_s - 10 * 86400, now_s + days * 86400)
        self.ledger.add_key(made, digest_of(text))
        if revoked:
            self.ledger.revoke_key(made.key_id, now_s=now_s)
        return {"Authorization": f"Bearer {text}"}

    def person(self, name: str = "anna", role: Role = Role.READER, site: str = SITE) -> None:
        self.ledger.add_account(Account(name, site, role, _hash(), time.time()))

    def signed_in(self, name: str = "anna", role: Role = Role.READER, site: str = SITE) -> FlaskClient:
        """A browser of a person who is signed in."""
        self.person(name, role, site)
        client = self.client
        answer = client.post("/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303
        return client

    def browser(self, **cookies: str) -> FlaskClient:
        """A browser that has these cookies, wherever it has them from."""
        client = self.client
        for name, value in cookies.items():
            client.set_cookie(name, value)
        return client

    def records(self, site: str = SITE) -> list[dict[str, Any]]:
        return [record.to_json() for record in self.ledger.audit_records(site)]


_HASHES: list[str] = []


def _hash() -> str:
    """Hashed once for all tests: that takes as long as it should."""
    if not _HASHES:
        _HASHES.append(hash_of(PASSWORD, account="anna"))
    return _HASHES[0]


@pytest.fixture
def open_hospital(tmp_path: Path) -> Iterator[Callable[..., Hospital]]:
    """Make a closed service; with other budgets, rules, provider or web settings if wanted."""
    opened = []

    def make(
        *,
        budgets: Budgets = _PLENTY,
        rules: SessionRules | None = None,
        provider: Provider | None = None,
        **settings: Any,
    ) -> Hospital:
        ports = open_ports(tmp_path / f"hospital{len(opened)}")
        gate = AccessGate(ports.ledger, Limiter(budgets_of(budgets)), rules or SessionRules(), provider)
        ports = dataclasses.replace(ports, access=gate)
        opened.append(ports)
        return Hospital(ports, open_app(ports, **settings))

    yield make
    for ports in opened:
        ports.ledger.close()


@pytest.fixture
def hospital(open_hospital: Callable[..., Hospital]) -> Hospital:
    return open_hospital()
