"""What requests leave in the audit; the commands that check and export it; the hospital's receiver."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fractureai.access.syslog import SyslogReceiver
from fractureai.bootstrap import Deployment
from fractureai.cli import cli
from fractureai.domain.access import Scope
from fractureai.errors import TransientFailure
from fractureai.settings import Settings
from fractureai.stages.forward import forward
from fractureai.upkeep import seal_audit
from tests.browser.samples import View, add
from tests.security.conftest import Hospital


def acts(hospital: Hospital) -> list[tuple[str, str, str]]:
    return [(r["act"], r["what"]["kind"], r["what"]["id"]) for r in hospital.records()]


def test_looking_is_written_once_a_minute_and_taking_always(hospital: Hospital) -> None:
    study = add(hospital.ports, View("a.png", probability=0.9), label="Secret label")
    client, headers = hospital.client, hospital.key(Scope.READ)
    base = f"/api/v1/studies/{study.study_id}"
    for path in (base, base, f"{base}/images/1/heat.png", f"{base}/report.pdf", f"{base}/report.pdf"):
        assert client.get(path, headers=headers, buffered=True).status_code == 200
    found = client.post("/api/v1/searches", headers=headers, json={"q": "Secret"}).json
    client.get(found["studies_url"], headers=headers)
    assert acts(hospital) == [
        ("view", "study", study.study_id),
        ("download", "study", study.study_id),
        ("download", "study", study.study_id),
        ("query", "", ""),
    ]
    record = hospital.records()[0]
    assert record["event"] == ["110103", "DICOM Instances Accessed"]
    assert (record["who"]["kind"], record["who"]["address"], record["outcome"]) == ("key", "127.0.0.1", 0)
    assert "Secret" not in json.dumps(hospital.records())
    assert "a.png" not in json.dumps(hospital.records())


def test_another_reader_is_another_look(hospital: Hospital) -> None:
    study = add(hospital.ports, View("a.png", probability=0.9))
    for _ in range(2):
        hospital.client.get(f"/api/v1/studies/{study.study_id}", headers=hospital.key(Scope.READ))
    assert len(acts(hospital)) == 2


def test_what_changes_something_is_written(hospital: Hospital) -> None:
    study = add(hospital.ports, View("a.png", probability=0.9))
    client, headers = hospital.client, hospital.key(Scope.SUBMIT)
    client.post(f"/api/v1/studies/{study.study_id}/verdicts", json={"agreement": "agree"}, headers=headers)
    sent = client.post("/api/v1/batches", data={"files": (io.BytesIO(b"x"), "b.png")}, headers=headers)
    assert sent.status_code == 202
    assert acts(hospital) == [("verdict", "study", study.study_id), ("intake", "batch", sent.json["batch_id"])]


def test_what_was_not_there_and_what_was_not_allowed(hospital: Hospital) -> None:
    client = hospital.client
    client.get("/api/v1/studies/" + "0" * 32, headers=hospital.key(Scope.READ))
    client.post("/api/v1/uploads", headers=hospital.key(Scope.READ))
    client.get("/api/v1/studies", headers={"Authorization": "Bearer fai_guess"})
    found = [(r["act"], r["outcome"], r["detail"]) for r in hospital.records()]
    assert found == [
        ("refused", 4, "not allowed: api.begin_upload"),
        ("refused", 4, "a key that opens nothing"),
    ]


def test_what_cannot_be_written_is_not_shown(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    study = add(hospital.ports, View("a.png", probability=0.9), label="Secret label")

    def away(*_: Any, **__: Any) -> None:
        raise TransientFailure("ledger_unavailable")

    headers = hospital.key(Scope.READ)
    monkeypatch.setattr(type(hospital.ledger), "note", away)
    answer = hospital.client.get(f"/api/v1/studies/{study.study_id}", headers=headers)
    assert answer.status_code == 503
    assert b"Secret" not in answer.data


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Deployment]:
    """An installation with a few records, as the commands find it."""
    deployment = Deployment(Settings(data_dir=tmp_path))
    for _ in range(3):
        deployment.note_start()
    seal_audit(deployment)
    deployment.note_start()
    yield deployment
    deployment.ledger.close()


def run(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, [*arguments, "--data", str(deployment.settings.data_dir)])
    return answer.exit_code, answer.output


def test_the_command_says_that_all_stands(installation: Deployment) -> None:
    code, output = run(installation, "audit", "verify")
    assert (code, output) == (0, "local: 4 records, all stand\n")


def test_the_command_finds_a_cut_and_a_seal_that_was_put_in(installation: Deployment) -> None:
    records = installation.ledger.audit_records("local")
    with installation.ledger._connections.write(durable=True) as connection:  # type: ignore[attr-defined]
        connection.execute(text("DELETE FROM audit WHERE number > 2"))
        connection.execute(text("UPDATE audit_heads SET number = 2, hash = :hash"), {"hash": records[1].hash})
    forged = json.dumps({"site": "local", "number": 2, "hash": records[1].hash, "at": 1, "seal": "0" * 64})
    installation.store.put("audit/local/000000000002.json", forged.encode())
    code, output = run(installation, "audit", "verify")
    assert code == 1
    assert "a seal is not ours: audit/local/000000000002.json" in output
    assert "records 3 to 3 are missing: the end was cut off" in output


def test_the_exports(installation: Deployment) -> None:
    code, output = run(installation, "audit", "export")
    lines = [json.loads(line) for line in output.splitlines()]
    assert (code, [line["number"] for line in lines]) == (0, [1, 2, 3, 4])
    assert lines[0]["event"] == ["110100", "Application Activity"]
    code, output = run(installation, "audit", "export", "--format", "dicom", "--after", "3")
    message = Xml.fromstring(output.splitlines()[0])
    assert message.tag == "AuditMessage"
    assert [part.tag for part in message][:3] == [
        "EventIdentification", "ActiveParticipant", "AuditSourceIdentification",
    ]  # fmt: skip
    identified = message.find("EventIdentification/EventID")
    assert identified is not None
    assert identified.attrib == {
        "csd-code": "110100", "codeSystemName": "DCM", "originalText": "Application Activity",
    }  # fmt: skip
    code, output = run(installation, "audit", "export", "--format", "syslog", "--after", "3")
    assert re.match(r"<85>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ fractureai \d+ DICOM\+RFC3881 - \ufeff<\?xml", output)


class Receiver:
    """A syslog server on loopback, by TCP or UDP."""

    def __init__(self, kind: str) -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.url = f"{kind}://127.0.0.1:{self.socket.getsockname()[1]}"
        self.data = b""

    def take(self, how_many: int) -> list[bytes]:
        """Datagrams, or one connection's frames."""
        if self.socket.type == socket.SOCK_DGRAM:
            return [self.socket.recv(65536) for _ in range(how_many)]
        self.socket.listen()
        connection, _ = self.socket.accept()
        with connection:
            data = b""
            while chunk := connection.recv(65536):
                data += chunk
        messages = []
        while data:
            length, _, data = data.partition(b" ")
            messages.append(data[: int(length)])
            data = data[int(length) :]
        return messages


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_receiver_gets_every_record_once(installation: Deployment, kind: str) -> None:
    receiver, taken = Receiver(kind), []
    if kind == "tcp":
        receiver.socket.listen()
    thread = threading.Thread(target=lambda: taken.extend(receiver.take(4)))
    thread.start()
    assert forward(installation.ledger, SyslogReceiver(receiver.url), receiver.url) == 4
    thread.join(20)
    receiver.socket.close()
    assert len(taken) == 4
    assert all(message.startswith(b"<85>1 ") for message in taken)
    assert forward(installation.ledger, SyslogReceiver(receiver.url), receiver.url) == 0


def test_a_receiver_that_is_away_gets_it_later(installation: Deployment) -> None:
    with pytest.raises(TransientFailure):
        forward(installation.ledger, SyslogReceiver("tcp://127.0.0.1:9"), "x")
    assert installation.ledger.audit_cursor("x", "local") == 0


def test_a_receiver_with_a_strange_certificate_gets_nothing(installation: Deployment) -> None:
    receiver = Receiver("tcp")
    receiver.socket.listen()
    thread = threading.Thread(target=lambda: receiver.socket.accept()[0].close())
    thread.start()
    with pytest.raises(TransientFailure):
        SyslogReceiver(receiver.url.replace("tcp", "tls")).send(installation.ledger.audit_records("local"))
    thread.join(10)
    receiver.socket.close()


def test_keys_are_made_and_revoked_by_command(installation: Deployment) -> None:
    code, output = run(installation, "keys", "create", "a scanner", "--scope", "submit")
    key = output.splitlines()[-1]
    assert code == 0
    assert key.startswith("fai_")
    listed = run(installation, "keys", "list")[1]
    assert key not in listed
    key_id = installation.ledger.api_keys()[0].key_id
    assert key_id in listed
    assert run(installation, "keys", "revoke", key_id)[0] == 0
    assert run(installation, "keys", "revoke", key_id)[0] == 1
    assert run(installation, "keys", "create", "x", "--scope", "read", "--site", "nroth")[0] == 2
    assert run(installation, "keys", "create", "x", "--scope", "read", "--site", "north", "--new-site")[0] == 0
    written = [(r.to_json()["act"], r.to_json()["detail"]) for r in installation.ledger.audit_records("local", after=4)]
    assert written == [("key", "created: submit, 365 days"), ("key", "revoked")]


def test_accounts_by_command(installation: Deployment) -> None:
    folder = ["--data", str(installation.settings.data_dir)]
    runner = CliRunner()
    added = runner.invoke(
        cli, ["accounts", "add", "anna", "--role", "viewer", *folder], input="a long phrase of hers\n"
    )
    assert added.exit_code == 0
    again = runner.invoke(cli, ["accounts", "add", "anna", *folder], input="a long phrase of hers\n")
    assert again.exit_code == 1
    assert runner.invoke(cli, ["accounts", "add", "otto", *folder], input="short\n").exit_code == 1
    assert "anna" in run(installation, "accounts", "list")[1]
    assert run(installation, "accounts", "remove", "anna")[0] == 0
    assert installation.ledger.accounts() == []
