"""The audit to a syslog receiver over TLS (RFC 5425): a real one, with certificates made here."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fractureai.access.syslog import SyslogReceiver
from fractureai.domain.access import Scope
from fractureai.errors import TransientFailure
from fractureai.stages.forward import forward
from tests.security.conftest import Hospital

_LOOKS = 5


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(made),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return made, key


@dataclass
class TlsReceiver:
    """Takes connections one after the other until it is closed; ``deaf`` ones are cut before anything is read."""

    certificate: Path
    key: Path
    deaf: int = 0
    port: int = 0
    messages: list[bytes] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            self.port = listening.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listening, context))
            thread.start()
            yield f"tls://127.0.0.1:{self.port}"
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)

    def _serve(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(10)
                try:
                    self._take(plain, context)
                except OSError as error:
                    self.faults.append(type(error).__name__)

    def _take(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as wire:
            if self.deaf:
                self.deaf -= 1
                # Gone without a word: what was on its way is lost, and its sender is told (a reset).
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            data = b""
            while chunk := wire.recv(65536):
                data += chunk
            wire.unwrap()
        while data:
            length, _, data = data.partition(b" ")
            self.messages.append(data[: int(length)])
            assert len(self.messages[-1]) == int(length)
            data = data[int(length) :]


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, Path]:
    return certificate(tmp_path, "receiver")


@pytest.fixture
def audited(hospital: Hospital) -> Hospital:
    """Some records, one after the other."""
    for number in range(_LOOKS):
        hospital.client.get(f"/api/v1/studies?limit={number + 1}", headers=hospital.key(Scope.READ))
    assert len(hospital.records()) == _LOOKS
    return hospital


def places(messages: list[bytes]) -> list[str]:
    """Which record of which site each message is."""
    return [re.findall(rb'ParticipantObjectID="(local/\d+)"', message)[-1].decode() for message in messages]


def expected(hospital: Hospital) -> list[str]:
    return [f"local/{record.number}" for record in hospital.ledger.audit_records("local")]


def test_records_arrive_framed_whole_and_in_order(audited: Hospital, ours: tuple[Path, Path]) -> None:
    receiver = TlsReceiver(*ours)
    with receiver.running() as url:
        assert forward(audited.ledger, SyslogReceiver(url, str(ours[0])), "tls") == _LOOKS
        assert forward(audited.ledger, SyslogReceiver(url, str(ours[0])), "tls") == 0
    assert receiver.faults == [], "it ends with a close_notify (RFC 5425 section 4.4)"
    assert places(receiver.messages) == expected(audited)
    for message in receiver.messages:
        head, _, xml = message.partition(b"\xef\xbb\xbf")
        assert re.fullmatch(rb"<85>1 \S+Z \S+ fractureai \d+ DICOM\+RFC3881 - ", head)
        assert xml.startswith(b"<?xml")
        assert b"\n" not in xml


def test_a_certificate_nobody_vouches_for_waits_and_nothing_is_lost(
    audited: Hospital, ours: tuple[Path, Path], tmp_path: Path
) -> None:
    stranger = TlsReceiver(*certificate(tmp_path, "stranger"))
    with stranger.running() as url, pytest.raises(TransientFailure):
        forward(audited.ledger, SyslogReceiver(url, str(ours[0])), "tls")
    assert stranger.messages == []
    assert audited.ledger.audit_cursor("tls", "local") == 0
    right = TlsReceiver(*ours)
    with right.running() as url:
        assert forward(audited.ledger, SyslogReceiver(url, str(ours[0])), "tls") == _LOOKS
    assert places(right.messages) == expected(audited)


def test_a_receiver_that_goes_and_comes_back_has_all_in_order(audited: Hospital, ours: tuple[Path, Path]) -> None:
    receiver = TlsReceiver(*ours, deaf=2)
    with receiver.running() as url:
        sender = SyslogReceiver(url, str(ours[0]))
        for _ in range(2):
            with pytest.raises(TransientFailure):
                forward(audited.ledger, sender, "tls")
            assert audited.ledger.audit_cursor("tls", "local") == 0
    with pytest.raises(TransientFailure):  # nobody there at all
        forward(audited.ledger, sender, "tls")
    with receiver.running():
        assert forward(audited.ledger, sender, "tls") == _LOOKS
        audited.client.get("/api/v1/studies?limit=9", headers=audited.key(Scope.READ))
        assert forward(audited.ledger, sender, "tls") == 1
    assert places(receiver.messages) == expected(audited)
    numbers = [json.loads(record.text)["at"] for record in audited.ledger.audit_records("local")]
    assert numbers == sorted(numbers)
