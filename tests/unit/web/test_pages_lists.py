"""The worklist and the batch as pages: what is asked, shown and linked, without any script."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from fractureai.domain.reasons import Reason
from fractureai.domain.records import StudyFilter, WorklistOrder
from fractureai.domain.study import Assessment, WorkState
from fractureai.web.app import WebPorts
from fractureai.web.worklist import Asked, asked_by
from tests.browser.samples import View, add, receive
from tests.unit.web.test_uploads_by_file import called

DAY_S = 86_400


def addresses(text: str) -> list[str]:
    return [match.replace("&amp;", "&") for match in re.findall(r'href="([^"]+)"', text)]


def listed(text: str) -> list[str]:
    """The ids of the studies of a list, in order."""
    return re.findall(r'<th scope="row"><a href="/studies/([0-9a-f]{32})"', text)


class TestAsked:
    def test_nothing_asked_is_everything_newest_first(self) -> None:
        assert asked_by({}) == Asked()
        assert asked_by({}).which == StudyFilter()
        assert not asked_by({}).is_narrow
        assert asked_by({}).address() == {}

    def test_what_is_asked_comes_out_of_the_address_again(self) -> None:
        values = {
            "outcome": "suspected",
            "region": "hand",
            "from": "2026-03-01",
            "to": "2026-03-02",
            "zone": "Asia/Tokyo",
        }
        values |= {"search": "7 esac", "order": "most_suspicious", "batch": "a" * 32}
        asked = asked_by(values, opened=lambda search: search[::-1])
        assert asked.address() == values
        assert asked.which == StudyFilter(
            batch_id="a" * 32,
            state=WorkState.DONE,
            assessment=Assessment.SUSPECTED,
            region="hand",
            accepted_from_s=1_772_323_200 - 9 * 3600,
            accepted_to_s=1_772_323_200 - 9 * 3600 + 2 * DAY_S,
            text="case 7",
        )
        assert asked.order is WorklistOrder.MOST_SUSPICIOUS

    def test_the_usual_order_is_not_named(self) -> None:
        asked = asked_by({}, WorklistOrder.MOST_SUSPICIOUS)
        assert asked.order is WorklistOrder.MOST_SUSPICIOUS
        assert asked.address() == {}
        assert asked.address(order=WorklistOrder.NEWEST) == {"order": "newest"}

    def test_a_day_as_long_as_the_zone_makes_it(self) -> None:
        summer = asked_by({"from": "2026-03-29", "to": "2026-03-29", "zone": "Europe/Berlin"}).which
        assert summer.accepted_from_s is not None
        assert summer.accepted_to_s is not None
        assert summer.accepted_to_s - summer.accepted_from_s == 23 * 3600

    @given(
        st.dictionaries(
            st.sampled_from(["outcome", "region", "batch", "from", "to", "zone", "search", "order"]), st.text()
        )
    )
    def test_odd_values_are_no_filter_and_no_error(self, values: dict[str, str]) -> None:
        asked = asked_by(values)
        assert isinstance(asked.which, StudyFilter)
        assert asked_by(asked.address()) == asked

    @pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc", "Europe", "\0", "no such/zone"])
    def test_an_odd_zone_is_utc(self, zone: str) -> None:
        assert asked_by({"from": "1970-01-02", "zone": zone}).which.accepted_from_s == DAY_S

    @pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
    def test_the_ends_of_time(self, day: str) -> None:
        assert isinstance(asked_by({"from": day, "to": day, "zone": "Asia/Tokyo"}).which, StudyFilter)


@pytest.fixture
def ids(ports: WebPorts) -> dict[str, str]:
    batch_id = ports.new_id()
    unread = View("letter.png", probability=None, reasons=(Reason("unknown_type"),))
    studies = {
        "open": receive(ports, [View("going.png")], label="Case 1", batch_id=batch_id),
        "normal": add(ports, View("a.png", "hand", 0.01), label="Case 2", batch_id=batch_id),
        "fracture": add(ports, View("b.png", "elbow", 0.95), label="Case Third", batch_id=batch_id),
        "suspected": add(ports, View("c.png", "hand", 0.4), label="Other 4", batch_id=batch_id),
        "rejected": add(ports, unread, state=WorkState.REJECTED, batch_id=batch_id),
        "failed": add(ports, unread, state=WorkState.FAILED, batch_id=batch_id),
        "elsewhere": add(ports, View("d.png", "hand", 0.97), label="Case 5"),
    }
    return {name: study.study_id for name, study in studies.items()} | {"batch": batch_id}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("outcome=fracture", ["elsewhere", "fracture"]),
        ("outcome=failed", ["failed"]),
        ("outcome=open", ["open"]),
        ("outcome=inconclusive", []),
        ("region=hand", ["elsewhere", "suspected", "normal"]),
        ("q=case", ["elsewhere", "fracture", "normal", "open"]),
        ("q=OTH", ["suspected"]),
        ("order=most_suspicious&q=case", ["elsewhere", "fracture", "normal", "open"]),
        ("order=most_suspicious&region=hand", ["elsewhere", "suspected", "normal"]),
        ("to=2001-01-01", []),
        ("outcome=odd&order=odd&from=odd&q=case+third", ["fracture"]),
    ],
)
def test_the_worklist_answers(client: FlaskClient, ids: dict[str, str], query: str, names: list[str]) -> None:
    text = client.post("/worklist", data=dict(parse_qsl(query)), follow_redirects=True).text
    assert listed(text) == [ids[name] for name in names]
    if not names:
        assert "No study fits this" in text


def test_one_batch_in_the_worklist(client: FlaskClient, ids: dict[str, str]) -> None:
    text = client.get(f"/worklist?batch={ids['batch']}&outcome=fracture").text
    assert listed(text) == [ids["fracture"]]
    assert "/worklist?outcome=fracture" in addresses(text)


def test_pages_follow_each_other_and_keep_what_was_asked(ports: WebPorts, client: FlaskClient) -> None:
    made = [add(ports, View("a.png", "hand", 0.01 * (n % 7)), label=f"Case {n}").study_id for n in range(53)]
    add(ports, View("a.png", "elbow", 0.9))
    first = client.get("/worklist?region=hand&order=most_suspicious").text
    (following,) = [address for address in addresses(first) if "cursor=" in address]
    assert parse_qs(urlsplit(following).query)["region"] == ["hand"]
    second = client.get(following).text
    assert len(listed(first)) == 50
    assert sorted(listed(first) + listed(second)) == sorted(made)
    assert "First page" in second
    assert client.get(following.replace("most_suspicious", "newest")).status_code == 400


def test_a_batch_lists_the_most_suspicious_first(client: FlaskClient, ids: dict[str, str]) -> None:
    text = client.get(f"/batches/{ids['batch']}").text
    assert listed(text)[:2] == [ids["fracture"], ids["suspected"]]
    assert listed(text)[-1] == ids["open"]
    assert ids["elsewhere"] not in text
    assert f"/batches/{ids['batch']}?outcome=failed" in addresses(text)
    assert f"/batches/{ids['batch']}?order=newest" in addresses(text)
    assert listed(client.get(f"/batches/{ids['batch']}?outcome=failed").text) == [ids["failed"]]
    assert "1 study failed" in re.sub("<[^>]+>", "", text)


def test_all_that_failed_in_a_batch_is_tried_again(ports: WebPorts, client: FlaskClient, ids: dict[str, str]) -> None:
    answer = client.post(f"/batches/{ids['batch']}/retry")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/batches/{ids['batch']}")
    row = ports.ledger.study(ids["failed"], site="local")
    assert row is not None
    assert row.state is WorkState.OPEN
    assert client.post(f"/batches/{'0' * 32}/retry").status_code == 404


def test_the_list_and_the_batch_are_downloaded_as_they_are_asked(client: FlaskClient, ids: dict[str, str]) -> None:
    query = {"outcome": "fracture", "region": "elbow", "q": "case", "from": "2001-01-01", "zone": "Asia/Tokyo"}
    text = client.post("/worklist", data=query, follow_redirects=True).text
    (address,) = [address for address in addresses(text) if "studies.csv" in address]
    table = client.get(address).text.splitlines()
    assert [line.split(",")[0] for line in table[1:]] == [ids["fracture"]]
    text = client.get(f"/batches/{ids['batch']}").text
    for name in ("results.csv", "reports.zip"):
        (address,) = [address for address in addresses(text) if address.endswith(name)]
        with client.get(address) as answer:
            assert answer.status_code == 200
            assert answer.data


def test_an_upload_that_is_on_its_way_has_a_page(client: FlaskClient) -> None:
    upload = client.post("/api/v1/uploads").json
    assert upload is not None
    headers = {"Upload-Token": upload["token"]}
    receipt = client.put(f"{upload['files_url']}1", data=b"x", headers=headers | called("a.png")).json
    page = f"/batches/{upload['batch_id']}"
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", client.get(page).text))
    assert "1 file has arrived." in text
    client.post(upload["complete_url"], json={"receipts": [receipt["receipt"]]})  # type: ignore[index]
    assert "being sorted into studies" in client.get(page).text


def test_what_somebody_types_is_escaped(client: FlaskClient, ids: dict[str, str]) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    odd = {"q": hostile, "zone": hostile, "region": hostile}
    text = client.post("/worklist", data=odd, follow_redirects=True).text
    assert hostile not in text
    assert "&lt;img" in text


def test_words_that_are_searched_for_stand_in_no_address(client: FlaskClient, ids: dict[str, str]) -> None:
    answer = client.post("/worklist", data={"q": "Third", "outcome": "fracture", "search": "of before"})
    found = client.get(answer.location)
    assert listed(found.text) == [ids["fracture"]]
    assert 'value="Third"' in found.text
    for address in [answer.location, *addresses(found.text)]:
        assert "third" not in address.lower()
    assert listed(client.get("/worklist?q=Third").text) != [ids["fracture"]]
    assert client.post("/worklist", data={"q": " "}).location == "/worklist"


@pytest.mark.parametrize("search", ["x", "gAAAA" + "A" * 95, "\u00e9" * 9, "A" * 5000])
def test_words_that_were_not_sealed_here_are_no_search(client: FlaskClient, search: str) -> None:
    for address in ("/worklist", "/api/v1/studies", "/api/v1/studies.csv"):
        assert client.get(address, query_string={"search": search}).status_code == 400
