"""The pages: there, escaped, and with the headers that keep them safe."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fractureai.domain.reasons import Reason
from fractureai.domain.result import DISCLAIMER
from fractureai.domain.study import Stage, WorkState
from fractureai.errors import BrokenDeployment
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, advance, receive

HOSTILE = '"><img src=x onerror=alert(1)>'
STATIC_PAGES = ["/", "/features", "/predict", "/models", "/faq", "/worklist"]


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def check_page(text: str) -> Elements:
    """What holds for every page."""
    page = Elements(text)
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert DISCLAIMER in text
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.found:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "action"):
            assert not (attributes.get(name) or "").startswith(("http:", "https:", "//", "javascript:")), attributes
    assert all("src" in attributes for attributes in page.all("script"))
    assert not page.all("style")
    assert all("alt" in attributes for attributes in page.all("img"))
    return page


def every_kind(ports: WebPorts) -> dict[str, str]:
    unread = View(HOSTILE, probability=None, reasons=(Reason("damaged"),))
    going = receive(ports, [View("a.png")], label=HOSTILE)
    advance(ports, going, Stage.EXPLAIN)
    studies = {
        "fracture": add(ports, View(HOSTILE, probability=0.93), View("b.png", probability=0.3), label=HOSTILE),
        "no_fracture": add(ports, View("a.png", probability=0.0)),
        "mixed": add(ports, View("a.png", probability=0.1), unread),
        "rejected": add(ports, unread, state=WorkState.REJECTED),
        "failed": add(ports, unread, state=WorkState.FAILED),
        "open": going,
    }
    return {name: study.study_id for name, study in studies.items()}


@pytest.mark.parametrize("address", STATIC_PAGES)
def test_pages_stand_on_their_own(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    check_page(answer.text)


def test_every_kind_of_study_has_its_page(ports: WebPorts, client: FlaskClient) -> None:
    texts = {}
    for name, study_id in every_kind(ports).items():
        answer = client.get(f"/studies/{study_id}")
        assert answer.status_code == 200
        check_page(answer.text)
        assert HOSTILE not in answer.text
        texts[name] = re.sub(r"\s+", " ", answer.text)
    assert "Fracture likely" in texts["fracture"]
    assert "93 %" in texts["fracture"]
    assert "No fracture found" in texts["no_fracture"]
    assert "&lt; 1 %" in texts["no_fracture"]
    assert "Not assessed" in texts["mixed"]
    assert "The file is damaged" in texts["rejected"]
    assert "Try again" in texts["failed"]
    assert 'aria-current="step"' in texts["open"]
    assert "data-live-url" in texts["open"]
    assert "data-live-url" not in texts["fracture"]


def test_oblong_pixels_are_shown_square_and_the_region_on_their_grid(ports: WebPorts, client: FlaskClient) -> None:
    study = add(ports, View("a.dcm", probability=0.9, box_px=(10, 20, 30, 40), shown_px=(48, 128)))
    page = check_page(client.get(f"/studies/{study.study_id}").text)
    (film,) = [attributes for attributes in page.all("div") if "data-film" in attributes]
    assert (film["data-width"], film["data-height"]) == ("48", "128")
    (region,) = [attributes for attributes in page.all("svg") if "data-roi" in attributes]
    assert region["viewbox"] == "0 0 48 64"


def test_boxes_are_solid_dashed_or_not_there(ports: WebPorts, client: FlaskClient) -> None:
    kinds = {0.9: "solid", 0.4: "dashed", 0.01: None}
    for probability, kind in kinds.items():
        study = add(ports, View("a.dcm", probability=probability, box_px=(10, 20, 30, 40)))
        page = check_page(client.get(f"/studies/{study.study_id}").text)
        drawn = [attributes for attributes in page.all("rect") if attributes.get("class") in {"solid", "dashed"}]
        assert [(box["class"], box["x"], box["y"], box["width"], box["height"]) for box in drawn] == (
            [(kind, "10", "20", "20", "20")] if kind else []
        )


def test_the_worklist_and_the_batch_list_studies(ports: WebPorts, client: FlaskClient) -> None:
    ids = every_kind(ports)
    answer = client.get("/worklist")
    check_page(answer.text)
    assert HOSTILE not in answer.text
    assert all(study_id in answer.text for study_id in ids.values())
    failed = client.get("/worklist?outcome=failed").text
    assert ids["failed"] in failed
    assert ids["fracture"] not in failed
    row = ports.ledger.study(ids["fracture"], site="local")
    assert row is not None
    batch = client.get(f"/batches/{row.batch_id}")
    check_page(batch.text)
    assert ids["fracture"] in batch.text
    assert client.get("/worklist?cursor=odd").status_code == 400


def test_two_patients_in_one_study_are_told_of_wherever_it_is_shown(ports: WebPorts, client: FlaskClient) -> None:
    conflict = Reason("patient_conflict", "patient ID, name")
    views = View("a.dcm", probability=0.9), View("b.dcm", probability=0.05)
    study = add(ports, *views, label="Mixed", notes=[Reason("views_not_assessed", "1 of 2"), conflict])
    for address in (f"/studies/{study.study_id}", "/worklist", f"/batches/{study.batch_id}"):
        text = client.get(address).text
        assert re.search(f"<strong[^>]*>{re.escape(conflict.sentence)}</strong>", text), address
    page = client.get(f"/studies/{study.study_id}").text
    assert page.index(conflict.sentence) < page.index('<section class="verdict fracture"')
    assert '<p class="notice" role="alert">' in page
    document = client.get(f"/api/v1/studies/{study.study_id}").json
    assert document["reasons"][0]["code"] == "patient_conflict"
    assert conflict.sentence in client.get("/api/v1/studies.csv").text


def test_an_image_that_was_set_aside_is_shown_as_that(ports: WebPorts, client: FlaskClient) -> None:
    raw = View("raw.dcm", probability=None, reasons=(Reason("raw_image", "view 1"),), set_aside=True)
    study = add(ports, View("shown.dcm", probability=0.05), raw)
    page = client.get(f"/studies/{study.study_id}").text
    assert "Set aside" in page
    assert Reason("raw_image", "view 1").sentence in page
    assert "No fracture found" in page


def test_a_batch_that_is_being_unpacked(client: FlaskClient) -> None:
    data = {"files": (io.BytesIO(b"x"), "a.png")}
    answer = client.post("/predict/batch", data=data, follow_redirects=True)
    assert answer.status_code == 200
    check_page(answer.text)
    assert "being sorted into studies" in answer.text


def test_the_form_works_without_scripts(client: FlaskClient) -> None:
    data = {"files": [(io.BytesIO(b"x"), "a.png"), (io.BytesIO(b"y"), "b.png")], "label": "Case 7"}
    answer = client.post("/predict/study", data=data, follow_redirects=True)
    assert answer.status_code == 200
    assert "Case 7" in answer.text
    assert "2 views" in answer.text


def test_a_failed_study_is_tried_again_from_its_page(ports: WebPorts, client: FlaskClient) -> None:
    study_id = every_kind(ports)["failed"]
    answer = client.post(f"/studies/{study_id}/retry", follow_redirects=True)
    assert answer.status_code == 200
    assert "data-live-url" in answer.text
    assert client.post(f"/studies/{study_id}/retry").status_code == 409


@pytest.mark.parametrize("address", ["/nothing", f"/studies/{'0' * 32}", f"/batches/{'0' * 32}", "/studies/x"])
def test_people_get_pages_for_errors(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    check_page(answer.text)


def test_errors_of_the_form_are_pages_too(client: FlaskClient) -> None:
    answer = client.post("/predict/study", data={"files": (io.BytesIO(b"PK\x03\x04"), "<b>.zip")})
    assert (answer.status_code, answer.mimetype) == (415, "text/html")
    assert "<b>.zip" not in answer.text
    assert "&lt;b&gt;.zip" in answer.text
    check_page(answer.text)


@pytest.mark.parametrize("address", ["/", "/nothing", "/api/v1/studies", "/api/v1/nothing", "/static/base.css"])
def test_headers(client: FlaskClient, address: str) -> None:
    with client.get(address) as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == ("no-cache" if address.startswith("/static") else "no-store")
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
@pytest.mark.parametrize("address", ["/api/v1/studies", "/predict/study"])
def test_other_sites_cannot_send(
    ports: WebPorts, client: FlaskClient, headers: dict[str, str], passes: bool, address: str
) -> None:
    field = "images" if "api" in address else "files"
    answer = client.post(address, data={field: (io.BytesIO(b"x"), "a.png")}, headers=headers)
    assert (answer.status_code in {202, 303}) is passes
    assert ports.ledger.open_count() == int(passes)
    if not passes:
        assert answer.status_code == 403


def test_only_trusted_hosts_are_answered(client_with: Callable[..., FlaskClient]) -> None:
    client = client_with({"trusted_hosts": ("localhost", "127.0.0.1")})
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200
    for address in ("/", "/api/v1/studies"):
        answer = client.get(address, headers={"Host": "rebound.example"})
        assert answer.status_code == 400
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_pages_live_without_models(client_with: Callable[..., FlaskClient]) -> None:
    class Broken:
        def cards(self) -> Any:
            raise BrokenDeployment("the card is not valid")

    client = client_with(models=Broken())
    for address in ("/", "/features", "/predict", "/faq"):
        assert client.get(address).status_code == 200
    assert client.get("/models").status_code == 500


def test_static_files_are_ours_and_revalidated(app: Flask, client: FlaskClient) -> None:
    with client.get("/static/page.js") as first:
        tag = first.headers["ETag"]
    with client.get("/static/page.js", headers={"If-None-Match": tag}) as again:
        assert again.status_code == 304
    assert client.get("/static/../app.py").status_code == 404
