"""Every address of the service and every artifact, walked as somebody who must see none of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from fractureai.domain.access import Role, Scope
from fractureai.domain.study import Stage, WorkState
from fractureai.web.doors import DOORS, door_of
from tests.browser.samples import View, add, advance, receive
from tests.security.conftest import Hospital

LABEL, FILE = "Xylophonlabel", "Yttriumfile.png"
PICTURES = ("image.png", "heat.png", "overlay.jpg", "roi.png")
CHOICES: dict[str, tuple[str, ...]] = {"picture": PICTURES}
"""What an argument of an address that is no id may be; a name that is not here is walked as ``1``."""
SAME_FOR_ALL = {"Date", "X-Request-Id", "Content-Length"}


@dataclass(frozen=True)
class Belongings:
    """What a site has, and the ids that stand for it."""

    ids: dict[str, str]
    token: str

    @property
    def traces(self) -> list[bytes]:
        return [text.encode() for text in (LABEL, LABEL.lower(), FILE, *self.ids.values())]


@pytest.fixture
def owned(hospital: Hospital) -> Belongings:
    """A finished study, one at work, a failed one, and an upload that is under way."""
    ports = hospital.ports
    done = add(ports, View(FILE, probability=0.9), label=LABEL)
    advance(ports, receive(ports, [View(FILE)], label=LABEL, batch_id=done.batch_id), Stage.EXPLAIN)
    add(ports, View(FILE, probability=0.9), label=LABEL, batch_id=done.batch_id, state=WorkState.FAILED)
    begun = hospital.client.post("/api/v1/uploads", headers=hospital.key(Scope.SUBMIT)).json
    return Belongings({"study": done.study_id, "batch": done.batch_id, "upload": begun["batch_id"]}, begun["token"])


def addresses(app: Flask, ids: dict[str, str]) -> list[tuple[Rule, str, str]]:
    """``(rule, method, address)`` of everything that is behind a door."""
    adapter = app.url_map.bind("localhost")
    return [
        (rule, method, adapter.build(rule.endpoint, values, method=method))
        for rule in app.url_map.iter_rules()
        if door_of(rule.endpoint).scope is not None
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
        for values in _values(rule, ids)
    ]


def _values(rule: Rule, ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for name in sorted(rule.arguments):
        is_upload = name == "batch_id" and rule.rule.startswith("/api/v1/uploads")
        kind = "upload" if is_upload else name.removesuffix("_id")
        values: tuple[Any, ...] = (ids[kind],) if kind in ids else CHOICES.get(name, (1,))
        found = [{**one, name: value} for one in found for value in values]
    yield from found


def test_every_address_has_a_door(hospital: Hospital) -> None:
    """Add it to ``fractureai.web.doors``: what it takes to come in, and what the audit writes."""
    endpoints = {rule.endpoint for rule in hospital.app.url_map.iter_rules()}
    assert endpoints - set(DOORS) == set()


def test_a_door_that_was_forgotten_is_for_administrators() -> None:
    assert door_of("pages.forgotten").scope is Scope.ADMIN


def test_what_is_open_to_all_is_short_and_known() -> None:
    public = {name for name, door in DOORS.items() if door.scope is None}
    assert public == {
        "static", "health.healthz", "health.readyz", "metrics", "api.openapi", "pages.home", "pages.features",
        "pages.faq", "sign_in.show", "sign_in.by_password", "sign_in.at_provider", "sign_in.returned", "sign_in.out",
    }  # fmt: skip


@pytest.mark.parametrize("way", ["nobody", "revoked", "expired", "made-up", "not-a-key", "basic", "cookie"])
def test_nobody_gets_in(hospital: Hospital, owned: Belongings, way: str) -> None:
    headers = {
        "nobody": {},
        "revoked": hospital.key(Scope.ADMIN, revoked=True),
        "expired": hospital.key(Scope.ADMIN, days=-1),
        "made-up": {"Authorization": "Bearer fai_0123456789abcdefghijklmnopqrstuvABCDEF"},
        "not-a-key": {"Authorization": "Bearer \x7f%00'--"},
        "basic": {"Authorization": "Basic YWRtaW46YWRtaW4="},
        "cookie": {},
    }[way]
    client, walked = hospital.browser(fractureai="AAAA") if way == "cookie" else hospital.client, 0
    for rule, method, address in addresses(hospital.app, owned.ids):
        answer = client.open(address, method=method, headers=headers | {"Upload-Token": owned.token}, buffered=True)
        walked += 1
        assert answer.status_code == 401, (method, address)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="FractureAI"')
        if rule.rule.startswith("/api/"):
            assert answer.mimetype == "application/problem+json"
        unasked = [trace for trace in owned.traces if trace.decode() not in address]
        assert not any(trace in answer.data for trace in unasked), (method, address)
    assert walked > 30


def test_another_site_finds_nothing(hospital: Hospital, owned: Belongings) -> None:
    """An administrator elsewhere gets, for what is here, byte for byte what they get for what is nowhere."""
    headers = hospital.key(Scope.ADMIN, site="south") | {"Upload-Token": owned.token}
    _same_as_nothing(hospital, hospital.client, owned, headers)


def test_a_person_of_another_site_finds_nothing(hospital: Hospital, owned: Belongings) -> None:
    client = hospital.signed_in("otto", Role.ADMIN, "south")
    _same_as_nothing(hospital, client, owned, {"X-CSRF-Token": _csrf(client), "Upload-Token": owned.token})


def test_searched_words_are_sealed_for_their_site(hospital: Hospital, owned: Belongings) -> None:
    said = hospital.client.post("/api/v1/searches", json={"q": LABEL}, headers=hospital.key(Scope.READ)).json
    for address in (said["studies_url"], said["csv_url"]):
        assert hospital.client.get(address, headers=hospital.key(Scope.READ)).status_code == 200
        assert hospital.client.get(address, headers=hospital.key(Scope.ADMIN, site="south")).status_code == 400
    elsewhere = hospital.signed_in("otto", Role.ADMIN, "south").get(f"/worklist?search={said['search']}")
    assert elsewhere.status_code == 400
    assert LABEL not in elsewhere.text


def _csrf(client: Any) -> str:
    return client.get("/").text.split('name="csrf" content="')[1].split('"')[0]


def _same_as_nothing(hospital: Hospital, client: FlaskClient, owned: Belongings, headers: dict[str, str]) -> None:
    nowhere = {kind: uuid.uuid4().hex for kind in owned.ids}
    there = addresses(hospital.app, owned.ids)
    for (rule, method, address), (_, _, missing) in zip(there, addresses(hospital.app, nowhere), strict=True):
        answer, other = (
            client.open(
                one, method=method, headers=headers, buffered=True, json={} if method in {"POST", "PUT"} else None
            )
            for one in (address, missing)
        )
        if rule.arguments - {"delivery_id"}:
            assert answer.status_code in {404, 400, 415, 422}, (method, address, answer.status_code)
            assert _blurred(answer, owned.ids) == _blurred(other, nowhere), (method, address)
        unasked = [trace for trace in owned.traces if trace.decode() not in address]
        assert not any(trace in answer.data for trace in unasked), (method, address)
        assert all(trace.decode() not in str(answer.headers) for trace in unasked), (method, address)


def _blurred(answer: Any, ids: dict[str, str]) -> tuple[int, str, list[tuple[str, str]]]:
    """An answer without what differs between any two: the ids that were asked for, and the moment."""
    text = answer.get_data(as_text=True)
    for ident in ids.values():
        text = text.replace(ident, "…")
    return answer.status_code, text, sorted((n, v) for n, v in answer.headers if n not in SAME_FOR_ALL)


@pytest.mark.parametrize(
    ("held", "shut"),
    [
        ((Scope.READ,), {Scope.SUBMIT, Scope.ADMIN}),
        ((Scope.SUBMIT,), {Scope.READ, Scope.ADMIN}),
        ((Scope.READ, Scope.SUBMIT), {Scope.ADMIN}),
    ],
)
def test_a_scope_opens_its_own_doors_only(
    hospital: Hospital, owned: Belongings, held: tuple[Scope, ...], shut: set[Scope]
) -> None:
    client, headers = hospital.client, hospital.key(*held)
    for rule, method, address in addresses(hospital.app, owned.ids):
        scope = door_of(rule.endpoint).scope
        answer = client.open(address, method=method, headers=headers, buffered=True)
        if scope in shut:
            assert answer.status_code == 403, (method, address)
            assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]
            assert not any(trace in answer.data for trace in owned.traces if trace.decode() not in address)
        else:
            assert answer.status_code not in {401, 403}, (method, address)


def test_the_owner_sees_it_all(hospital: Hospital, owned: Belongings) -> None:
    """Otherwise the walk would prove nothing: what others do not find is there."""
    client, headers = hospital.client, hospital.key(Scope.READ)
    study, batch = owned.ids["study"], owned.ids["batch"]
    paths = [f"/api/v1/studies/{study}/{name}" for name in ("report.pdf", "result.json", "history", "verdicts", "fhir")]
    paths += [f"/api/v1/studies/{study}/images/1/{picture}" for picture in PICTURES]
    paths += [f"/api/v1/batches/{batch}/{name}" for name in ("studies", "results.csv", "results.ndjson", "reports.zip")]
    for path in [*paths, f"/studies/{study}", f"/batches/{batch}", "/worklist", "/api/v1/results"]:
        assert client.get(path, headers=headers).status_code == 200, path


def test_every_artifact_in_the_store_is_behind_a_door(hospital: Hospital, owned: Belongings) -> None:
    """Names of artifacts that a route does not know are not found either, whoever asks."""
    client, headers = hospital.client, hospital.key(Scope.ADMIN)
    for key in hospital.ports.store.keys(f"sites/local/studies/{owned.ids['study']}/"):
        for prefix in ("/", "/static/", "/static/../", "/api/v1/", "/api/v1/studies/../../"):
            assert client.get(prefix + key).status_code in {401, 404}
            assert client.get(prefix + key, headers=headers).status_code == 404
