from __future__ import annotations

import base64

from flask.testing import FlaskClient

from fractureai.domain import keys
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, receive


def test_a_finished_study_is_given_as_fhir(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9), label="Case 9")
    answer = client.get(f"/api/v1/studies/{study.study_id}/fhir")
    assert answer.status_code == 200
    assert answer.mimetype == "application/fhir+json"
    document = answer.get_json(force=True)
    assert document["resourceType"] == "DiagnosticReport"
    assert document["status"] == "preliminary"
    pdf = ports.store.get(keys.report_pdf("local", study.study_id))
    assert base64.b64decode(document["presentedForm"][0]["data"]) == pdf


def test_the_pdf_may_be_an_address_or_left_out(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.png", probability=0.9))
    address = f"/api/v1/studies/{study.study_id}/fhir"
    (form,) = client.get(f"{address}?pdf=url").get_json(force=True)["presentedForm"]
    assert form["url"] == f"/api/v1/studies/{study.study_id}/report.pdf"
    assert "presentedForm" not in client.get(f"{address}?pdf=none").get_json(force=True)
    assert client.get(f"{address}?pdf=fax").status_code == 400


def test_an_open_study_has_none_yet(ports: WebPorts, client: FlaskClient) -> None:
    study = receive(ports, [View("a.png")])
    answer = client.get(f"/api/v1/studies/{study.study_id}/fhir")
    assert (answer.status_code, answer.json["code"]) == (404, "not_there_yet")
    assert client.get(f"/api/v1/studies/{'0' * 32}/fhir").json["code"] == "not_found"
