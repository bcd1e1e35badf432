"""Whoever asked for it is told, once, signed, and of nothing more than they need."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fractureai.domain.records import DeliveryState
from fractureai.domain.study import Assessment, Stage, Study, WorkState
from fractureai.errors import TransientFailure
from fractureai.stages import deliver, notify, reconcile
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.webhook.sender import HttpNotifier
from tests.browser.samples import open_app, open_ports
from tests.unit.stages.conftest import House

SECRET = b"s" * 32


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent and answers as it is told."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 204
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def telling(house: House, receiver: Any, tmp_path: Any) -> Iterator[House]:
    """A house whose finished studies are told to the receiver."""
    house.ledger.close()
    house.ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}", outbox=True)
    house.policy = dataclasses.replace(
        house.policy, delivery_attempts=3, delivery_backoff_s=10, public_base_url="https://x.example"
    )
    house.notifier = HttpNotifier(receiver.url, SECRET, clock=house.clock)
    yield house
    house.ledger.close()


def finish(house: House) -> Study:
    study = house.accepted(b"x")
    held = house.ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=house.now_s, lease_s=9.0)
    assert held is not None
    assert house.ledger.finish(
        held,
        WorkState.DONE,
        now_s=house.now_s,
        assessment=Assessment.FRACTURE,
        region="hand",
        max_fracture_probability=0.9,
        reasons=[],
    )
    return study


def due(house: House) -> list[str]:
    """What the reconciler sends to the queue now."""
    house.queue.sent.clear()
    reconcile.run(house)
    return [subject for subject, queue in house.queue.sent if queue == "delivery"]


def test_the_news_of_a_finished_study(telling: House, receiver: Any) -> None:
    study = finish(telling)
    (delivery_id,) = due(telling)
    assert due(telling) == []
    assert deliver.run(delivery_id, telling) == "done"
    assert deliver.run(delivery_id, telling) == "not_due"
    ((headers, body),) = receiver.got
    message = json.loads(body)
    assert {name: message[name] for name in ("study_id", "state", "assessment")} == {
        "study_id": study.study_id,
        "state": "done",
        "assessment": "fracture",
    }
    assert set(message) == {"study_id", "state", "assessment", "links", "warnings"}
    assert message["links"]["result"] == f"https://x.example/api/v1/studies/{study.study_id}/result.json"
    assert study.label.encode() not in body
    signed = headers["FractureAI-Timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
    assert headers["FractureAI-Signature"] == f"v1={expected}"
    assert headers["FractureAI-Delivery"] == delivery_id
    telling.now_s += 1e6
    assert due(telling) == []


@pytest.mark.parametrize("status", [302, 400, 500])
def test_what_is_not_taken_is_tried_again_and_given_up(telling: House, receiver: Any, status: int) -> None:
    finish(telling)
    receiver.status = status
    (delivery_id,) = due(telling)
    for attempt, answer in enumerate(("retry", "retry", "failed"), start=1):
        assert deliver.run(delivery_id, telling) == answer
        assert len(receiver.got) == attempt
        telling.now_s += 10 * 2**attempt
        assert due(telling) == ([] if answer == "failed" else [delivery_id])
    (row,) = telling.ledger.undelivered(site="local", limit=9)
    assert (row.state, row.last_error) == (DeliveryState.GIVEN_UP, f"HTTP {status}")
    receiver.status = 200
    assert telling.ledger.retry_delivery(delivery_id, site="local", now_s=telling.now_s)
    assert due(telling) == [delivery_id]
    assert deliver.run(delivery_id, telling) == "done"
    assert telling.ledger.undelivered(site="local", limit=9) == []


def test_a_receiver_that_is_away_is_left_alone_for_a_while(telling: House, receiver: Any) -> None:
    away = HttpNotifier("http://127.0.0.1:9/", SECRET, timeout_s=1, clock=telling.clock)
    with pytest.raises(TransientFailure, match="Connect"):
        away.notify("1", b"{}")
    with pytest.raises(TransientFailure, match="a moment ago"):
        away.notify("1", b"{}")
    telling.now_s += 16
    with pytest.raises(TransientFailure, match="Connect"):
        away.notify("1", b"{}")


def test_nobody_is_told_where_nobody_listens(house: House) -> None:
    finish(house)
    assert due(house) == []


def test_links_lead_to_routes_of_the_web(tmp_path: Any) -> None:
    ports = open_ports(tmp_path)
    routes = open_app(ports).url_map.bind("localhost")
    for path in notify.LINKS.values():
        endpoint, values = routes.match(path.format(study_id="0" * 32))
        assert values == {"study_id": "0" * 32}
        assert endpoint
    ports.ledger.close()
