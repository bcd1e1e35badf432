"""Finished studies go to a FHIR server, and wait for one that is away."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fractureai.domain.records import Channel, DeliveryState, Subscriber
from fractureai.domain.study import Study
from fractureai.stages import classify, deliver, detect, explain, reconcile, report
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.webhook.fhir_server import FhirServer
from tests.pictures import png
from tests.unit.stages.conftest import House


class Server(http.server.BaseHTTPRequestHandler):
    """Conditional updates, kept by identifier."""

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = urlsplit(self.path)
        status, said = self.server.answer  # type: ignore[attr-defined]
        if status < 300:
            key = (asked.path, parse_qs(asked.query)["identifier"][0])
            self.server.kept[key] = (body, self.headers["Authorization"])  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    made.kept, made.answer = {}, (201, b"")
    made.url = f"http://127.0.0.1:{made.server_port}/r4/"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def posting(house: House, server: Any, tmp_path: Any) -> Iterator[House]:
    house.ledger.close()
    subscribers = (Subscriber(Channel.FHIR, only_done=True),)
    house.ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}", subscribers=subscribers)
    house.fhir_sender = FhirServer(server.url, "secret", "data", clock=house.clock)
    yield house
    house.ledger.close()


def run_chain(house: House, study: Study) -> None:
    stages = (classify.run, detect.run, explain.run, report.run)
    assert [run(study.study_id, house) for run in stages] == ["done"] * 4


def only_delivery(house: House) -> str:
    (delivery,) = house.ledger.due_deliveries(now_s=house.now_s, limit=10)
    return delivery


def test_a_finished_study_is_put_whole_and_replaced(posting: House, server: Any) -> None:
    study = posting.accepted(png())
    run_chain(posting, study)
    posting.now_s += 1
    delivery = only_delivery(posting)
    assert deliver.run(delivery, posting) == "done"
    ((path, identifier), (body, authorization)) = next(iter(server.kept.items()))
    assert path == "/r4/DiagnosticReport"
    assert identifier.startswith("urn:ietf:rfc:3986|urn:uuid:")
    assert identifier.replace("-", "").endswith(study.study_id)
    assert authorization == "Bearer secret"
    assert body["resourceType"] == "DiagnosticReport"
    assert body["presentedForm"][0]["size"] > 1000
    assert "id" not in body
    posting.fhir_sender.put({**body, "conclusion": "again"})  # type: ignore[union-attr]
    assert [kept["conclusion"] for kept, _ in server.kept.values()] == ["again"]


def test_a_refusal_is_told_in_the_servers_words_and_tried_again_by_hand(posting: House, server: Any) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": "no such\ncode"}]}
    server.answer = (422, json.dumps(outcome).encode())
    run_chain(posting, posting.accepted(png()))
    posting.now_s += 1
    delivery = only_delivery(posting)
    assert deliver.run(delivery, posting) == "failed"
    (waiting,) = posting.ledger.undelivered(site="local", limit=5)
    assert (waiting.state, waiting.last_error) == (DeliveryState.GIVEN_UP, "HTTP 422: no suchcode")
    server.answer = (200, b"")
    assert posting.ledger.retry_delivery(delivery, site="local", now_s=posting.now_s)
    assert deliver.run(only_delivery(posting), posting) == "done"
    assert posting.ledger.undelivered(site="local", limit=5) == []


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_what_may_pass_is_tried_again(posting: House, server: Any, status: int) -> None:
    server.answer = (status, b"")
    run_chain(posting, posting.accepted(png()))
    posting.now_s += 1
    assert deliver.run(only_delivery(posting), posting) == "retry"
    assert posting.ledger.undelivered(site="local", limit=5)[0].last_error == f"HTTP {status}"


def test_a_server_that_is_away_is_left_alone_for_a_while(posting: House, server: Any) -> None:
    posting.fhir_sender = FhirServer("http://127.0.0.1:9", "", "none", clock=posting.clock)
    run_chain(posting, posting.accepted(png()))
    posting.now_s += 1
    assert reconcile.run(posting) >= 0
    delivery = posting.ledger.undelivered(site="local", limit=5)[0]
    posting.now_s += 1000
    assert deliver.run(delivery.delivery_id, posting) == "retry"
    assert posting.ledger.undelivered(site="local", limit=5)[0].last_error == "ConnectError"
    assert posting.ledger.undelivered(site="local", limit=5)[0].state is DeliveryState.OPEN
