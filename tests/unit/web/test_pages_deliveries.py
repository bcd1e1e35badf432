"""What has not reached its destination stands on a page, and a person can have it sent again."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fractureai.domain.records import Channel, DeliveredObject, ObjectState, Subscriber
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.web.context import WebPorts
from fractureai.web.data_flows import DataFlows
from tests.browser.samples import View, finish, open_app, receive

PACS = Subscriber(Channel.DICOM, "pacs", only_done=True)


@pytest.fixture
def sending(ports: WebPorts, tmp_path: Path) -> WebPorts:
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'sending.sqlite'}", subscribers=(PACS,))
    return dataclasses.replace(ports, ledger=ledger)


def test_the_page(sending: WebPorts) -> None:
    client: FlaskClient = open_app(sending, data_flows=DataFlows(dicom_destinations=1)).test_client()
    assert "No destination is set up" in open_app(sending).test_client().get("/deliveries").text
    assert "has reached its destination" in client.get("/deliveries").text
    study = receive(sending, [View("a.png")])
    finish(sending, study, [View("a.png")])
    (delivery_id,) = sending.ledger.due_deliveries(now_s=sending.clock() + 1, limit=9)
    delivery = sending.ledger.claim_delivery(delivery_id, now_s=sending.clock(), lease_s=1)
    assert delivery is not None
    sending.ledger.give_up_delivery(delivery, "1 of 5 refused: sr (status 0xA700)", now_s=sending.clock())
    text = client.get("/deliveries").text
    assert "<strong>failed</strong> after" in text
    assert "sr (status 0xA700)" in text
    fates = [
        DeliveredObject("pdf", ObjectState.VERIFIED),
        DeliveredObject("sr", ObjectState.REFUSED, "status 0xA700"),
    ]
    sending.ledger.note_objects(delivery_id, fates)
    (document,) = client.get("/api/v1/deliveries").json["deliveries"]  # type: ignore[index]
    assert document["objects"] == [
        {"name": "pdf", "state": "verified", "detail": ""},
        {"name": "sr", "state": "refused", "detail": "status 0xA700"},
    ]
    (action,) = re.findall(r'action="(/deliveries/[^"]+)"', text)
    assert client.post(action).status_code == 303
    assert "waiting" in client.get("/deliveries").text
    assert client.post(action).status_code == 409
    sending.ledger.close()
