"""A reader's word on a study, through the form of its page."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from fractureai.domain.records import Agreement
from fractureai.domain.study import Assessment
from fractureai.web.app import WebPorts
from tests.browser.samples import View, add, receive

HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def study_id(ports: WebPorts) -> str:
    return add(ports, View("a.png", "hand", 0.9), label="Case 1").study_id


def test_a_verdict_is_kept_and_shown(ports: WebPorts, client: FlaskClient, study_id: str) -> None:
    form = {"agreement": "disagree", "assessment": "no_fracture", "region": "elbow", "reader": HOSTILE}
    form["comment"] = f"  {HOSTILE}\r\nsecond\u202e line\n"
    answer = client.post(f"/studies/{study_id}/verdict", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/studies/{study_id}#reading")
    (kept,) = ports.ledger.verdicts(study_id, site="local")
    assert (kept.agreement, kept.assessment, kept.region) == (Agreement.DISAGREE, Assessment.NO_FRACTURE, "elbow")
    assert kept.comment == f"{HOSTILE}\nsecond line"
    text = client.get(f"/studies/{study_id}").text
    assert HOSTILE not in text
    assert "disagrees: no fracture; region: elbow" in text
    assert "A reader’s word" in text


def test_who_agrees_says_nothing_else(ports: WebPorts, client: FlaskClient, study_id: str) -> None:
    form = {"agreement": "agree", "assessment": "no_fracture", "region": "nonsense", "comment": "x\r\n" * 1000}
    assert client.post(f"/studies/{study_id}/verdict", data=form).status_code == 303
    (kept,) = ports.ledger.verdicts(study_id, site="local")
    assert (kept.agreement, kept.assessment, kept.region) == (Agreement.AGREE, None, None)
    assert len(kept.comment) == 1999


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"agreement": "perhaps"},
        {"agreement": "unsure", "assessment": "benign"},
        {"agreement": "unsure", "comment": "x" * 2001},
    ],
)
def test_what_cannot_be_said_is_not_kept(
    ports: WebPorts, client: FlaskClient, study_id: str, form: dict[str, str]
) -> None:
    assert client.post(f"/studies/{study_id}/verdict", data=form).status_code == 400
    assert ports.ledger.verdicts(study_id, site="local") == []


def test_only_of_a_study_that_is_here_and_read(ports: WebPorts, client: FlaskClient) -> None:
    assert client.post(f"/studies/{'0' * 32}/verdict", data={"agreement": "agree"}).status_code == 404
    going = receive(ports, [View("a.png")]).study_id
    assert "Your reading" not in client.get(f"/studies/{going}").text
