"""People: passwords, sessions, forms that only our pages may send, throttling."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fractureai.access.gate import SessionRules
from fractureai.access.limits import Budgets
from fractureai.domain.access import Role, Scope
from tests.browser.samples import View, add
from tests.security.conftest import PASSWORD, Hospital

MANY = "100000/minute"


def csrf(client: FlaskClient) -> str:
    return client.get("/").text.split('name="csrf" content="')[1].split('"')[0]


def test_a_person_signs_in_looks_and_signs_out(hospital: Hospital) -> None:
    study = add(hospital.ports, View("a.png", probability=0.9), label="Case 1")
    hospital.person()
    client = hospital.client
    asked = client.get(f"/studies/{study.study_id}?x=1")
    assert asked.status_code == 401
    assert f'value="/studies/{study.study_id}?x=1"' in asked.text
    answer = client.post(
        "/sign-in", data={"name": "anna", "password": PASSWORD, "next": f"/studies/{study.study_id}?x=1"}
    )
    assert answer.status_code == 303
    assert answer.location == f"/studies/{study.study_id}?x=1"
    page = client.get(answer.location)
    assert page.status_code == 200
    assert "anna" in page.text
    stolen = client.get_cookie("fractureai")
    assert stolen is not None
    token = csrf(client)
    assert hospital.browser(fractureai=stolen.value).get("/worklist").status_code == 200
    assert client.post("/sign-in/out", data={"csrf": token}).status_code == 303
    assert client.get("/worklist").status_code == 401
    assert hospital.browser(fractureai=stolen.value).get("/worklist").status_code == 401
    acts = [(record["act"], record["who"]["id"]) for record in hospital.records()]
    assert acts == [(act, "account:anna") for act in ("sign_in", "view", "query", "sign_out")]


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong phrase entirely"), ("otto", PASSWORD), ("", "")])
def test_a_wrong_name_and_a_wrong_password_look_alike(hospital: Hospital, name: str, password: str) -> None:
    hospital.person()
    answer = hospital.client.post("/sign-in", data={"name": name, "password": password})
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    known = hospital.client.post("/sign-in", data={"name": "anna", "password": "wrong"})
    if name:
        assert answer.data == known.data
    assert hospital.records()[0]["act"] == "refused"
    assert password not in str(hospital.records()) or not password


def test_the_value_of_the_cookie_is_new_at_every_sign_in_and_nowhere_else(hospital: Hospital) -> None:
    client = hospital.signed_in()
    first = client.get_cookie("fractureai")
    client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
    second = client.get_cookie("fractureai")
    assert first is not None
    assert second is not None
    assert first.value != second.value
    assert hospital.browser(fractureai=first.value).get("/worklist").status_code == 401
    database = hospital.ledger._connections.url.database
    for suffix in ("", "-wal"):
        assert second.value.encode() not in Path(f"{database}{suffix}").read_bytes()


def test_under_https_the_cookie_keeps_to_this_host(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(public_base_url="https://reads.hospital.example")
    hospital.person()
    answer = hospital.client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-fractureai=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_a_password_is_not_taken_over_an_open_line(hospital: Hospital) -> None:
    hospital.person()
    answer = hospital.client.post(
        "/sign-in", data={"name": "anna", "password": PASSWORD}, environ_base={"REMOTE_ADDR": "10.0.0.9"}
    )
    assert answer.status_code == 403
    assert "https" in answer.text


def test_a_sign_in_ends_when_idle_and_at_last_anyway(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(rules=SessionRules(idle_s=3600, absolute_s=7200))
    gate, who = hospital.ports.access, None
    assert gate is not None
    hospital.person()
    who = hospital.ledger.account("anna").principal
    start = time.time()
    token = gate.open_session(who, now_s=start)
    assert gate.by_session(token, now_s=start + 3599) == who
    assert gate.by_session(token, now_s=start + 3599 + 3599) == who
    assert gate.by_session(token, now_s=start + 7200) is None
    token = gate.open_session(who, now_s=start)
    assert gate.by_session(token, now_s=start + 3600) is None
    assert hospital.ledger.forget_sessions(expired_before_s=start + 7201, seen_before_s=start) == 2


FORMS = ["/studies/{}/verdict", "/studies/{}/retry"]


@pytest.mark.parametrize("address", FORMS)
def test_a_form_needs_the_token_of_this_sign_in(hospital: Hospital, address: str) -> None:
    study = add(hospital.ports, View("a.png", probability=0.9))
    client, other = hospital.signed_in(), hospital.signed_in("otto")
    path = address.format(study.study_id)
    for token in ("", "00", csrf(other)):
        answer = client.post(path, data={"agreement": "agree", "csrf": token})
        assert answer.status_code == 403
        assert "Load it again" in answer.text
    assert hospital.ledger.verdicts(study.study_id, site="local") == []
    assert client.post(path, data={"agreement": "agree", "csrf": csrf(client)}).status_code in {303, 409}


def test_a_script_needs_the_token_in_a_header(hospital: Hospital) -> None:
    client = hospital.signed_in()
    assert client.post("/api/v1/uploads").status_code == 403
    assert client.post("/api/v1/uploads", headers={"X-CSRF-Token": csrf(client)}).status_code == 201


@pytest.mark.parametrize("address", ["/predict/study", "/predict/batch"])
def test_a_form_with_files_needs_it_too_and_leaves_nothing(hospital: Hospital, address: str) -> None:
    client = hospital.signed_in()
    for token, status in (("", 403), ("00", 403), (csrf(client), 303)):
        form = {"files": (io.BytesIO(b"not a picture"), "a.png"), "csrf": token}
        assert client.post(address, data=form).status_code == status
        if status == 403:
            assert list(hospital.ports.store.keys("sites/")) == []


def test_a_page_of_another_site_is_refused_even_with_the_cookie(hospital: Hospital) -> None:
    client = hospital.signed_in()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = client.post("/api/v1/uploads", headers=headers | {"X-CSRF-Token": csrf(client)})
        assert answer.status_code == 403


def test_every_form_that_posts_has_the_token(hospital: Hospital) -> None:
    client = hospital.signed_in()
    study = add(hospital.ports, View("a.png", probability=0.9))
    for path in ("/predict", f"/studies/{study.study_id}", f"/batches/{study.batch_id}", "/worklist"):
        text = client.get(path).text
        for form in text.split("<form")[1:]:
            head, body = form.split(">", 1)
            if 'method="post"' in head:
                assert 'name="csrf"' in body.split("</form>")[0], (path, head)


def test_attempts_are_counted_by_account_and_by_address(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(budgets=Budgets(MANY, MANY, "5/day", "3/day"))
    hospital.person()

    def attempt(name: str, password: str, address: str) -> int:
        return hospital.client.post(
            "/sign-in",
            data={"name": name, "password": password},
            environ_base={"REMOTE_ADDR": address},
        ).status_code

    # One account from many addresses; the right password does not help once the budget is used up.
    assert [attempt("anna", "wrong", f"127.0.0.{n}") for n in (1, 2, 3)] == [401] * 3
    assert attempt("anna", PASSWORD, "127.0.0.4") == 429
    # Many accounts from one address.
    assert [attempt(f"otto{n}", "wrong", "127.0.0.9") for n in range(6)] == [401] * 5 + [429]


def test_refused_keys_are_counted_by_address(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(budgets=Budgets(MANY, MANY, "3/minute", MANY))
    headers = {"Authorization": "Bearer fai_wrong"}
    answers = [hospital.client.get("/api/v1/studies", headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert len([record for record in hospital.records() if record["act"] == "refused"]) == 3


def test_a_key_has_a_budget(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(budgets=Budgets("3/minute", MANY, MANY, MANY))
    headers = hospital.key(Scope.READ)
    codes = [hospital.client.get("/api/v1/studies", headers=headers).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    assert hospital.client.get("/api/v1/studies", headers=hospital.key(Scope.READ)).status_code == 200


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "\\\\evil.example"],
)
def test_the_way_on_leads_nowhere_else(hospital: Hospital, onward: str) -> None:
    hospital.person()
    answer = hospital.client.post("/sign-in", data={"name": "anna", "password": PASSWORD, "next": onward})
    assert answer.location == "/"


def test_a_viewer_does_not_send(hospital: Hospital) -> None:
    client = hospital.signed_in("vera", Role.VIEWER)
    assert client.get("/worklist").status_code == 200
    assert client.post("/api/v1/uploads", headers={"X-CSRF-Token": csrf(client)}).status_code == 403
