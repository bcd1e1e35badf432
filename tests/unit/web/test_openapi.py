"""The document describes the application, and the application keeps to the document."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import hypothesis
import jsonschema
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fractureai.access.gate import AccessGate
from fractureai.access.limits import Budgets, Limiter, budgets_of
from fractureai.web.app import WebPorts
from fractureai.web.openapi import document
from tests.browser.samples import View, add, open_app, open_ports


def test_every_route_is_described(app: Flask) -> None:
    described = {(path, method.upper()) for path, item in document("0")["paths"].items() for method in item}
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and rule.endpoint != "api.openapi"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served


def test_a_real_result_fits_its_schema(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9))
    body = client.get(f"/api/v1/studies/{study.study_id}").json
    schema = {"$ref": "#/components/schemas/Study", "components": document("0")["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)


OPERATIONS = [(method, path) for path, item in document("0")["paths"].items() for method in item]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_answer_is_undocumented(tmp_path: Path, method: str, path: str) -> None:
    """Whatever is sent, the answer is one the document knows, and never a 5xx."""
    ports = open_ports(tmp_path)
    add(ports, View("a.png", probability=0.9))
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", open_app(ports))

    @hypothesis.given(case=schema[path][method].as_strategy())
    @hypothesis.settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        # Cursors and receipts are opaque: no schema can tell a made-up one from ours.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()
    ports.ledger.close()


def test_a_service_that_asks_says_what_each_call_takes(tmp_path: Path) -> None:
    ports = open_ports(tmp_path)
    gate = AccessGate(ports.ledger, Limiter(budgets_of(Budgets())))
    paths = open_app(dataclasses.replace(ports, access=gate)).test_client().get("/api/v1/openapi.json").json["paths"]
    ports.ledger.close()
    asked = {
        (path, method): operation.get("security") for path, item in paths.items() for method, operation in item.items()
    }
    assert all(asked.values())
    assert asked["/api/v1/studies", "post"] == [{"key": ["submit"]}, {"session": ["submit"]}]
    assert asked["/api/v1/studies/{study_id}/report.pdf", "get"] == [{"key": ["read"]}, {"session": ["read"]}]
    assert "401" in paths["/api/v1/studies"]["get"]["responses"]
