"""The audit for a receiver of the hospital: DICOM PS3.15 A.5 messages in syslog (RFC 5424) by UDP, TCP or TLS.

IHE ATNA's ITI-20. TCP and TLS frame messages by their length (RFC 6587, RFC 5425).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as Xml  # to write with; nothing is parsed

from fractureai.domain.audit import AuditRecord
from fractureai.errors import TransientFailure

_TIMEOUT_S = 5.0
_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
# Facility 10 (security), severity 5 (notice); 4 (warning) for what was refused.
_DONE, _REFUSED = 10 * 8 + 5, 10 * 8 + 4
_MESSAGE_ID = "DICOM+RFC3881"
_IP, _REQUESTOR = "2", "true"
_OBJECT_CODES = {"study": ("2", "3"), "batch": ("2", "3"), "key": ("2", "13"), "account": ("1", "13")}
_SYSTEM_OBJECT = ("2", "13")


@dataclass(frozen=True, slots=True)
class SyslogReceiver:
    """Where the audit goes: ``tls://host:6514``, ``tcp://host:601`` or ``udp://host:514``."""

    url: str
    ca_file: str | None = None

    def send(self, records: Sequence[AuditRecord]) -> None:
        """Send in order. Raises ``TransientFailure('receiver_unavailable')``; then some may have arrived."""
        parts = urlsplit(self.url)
        address = (str(parts.hostname), parts.port or _PORTS[parts.scheme])
        try:
            if parts.scheme == "udp":
                self._datagrams(address, records)
                return
            with self._stream(address, tls=parts.scheme == "tls") as stream:
                for record in records:
                    message = syslog_message(record)
                    stream.sendall(f"{len(message)} ".encode() + message)
                _finish(stream)
        except OSError as error:
            raise TransientFailure("receiver_unavailable", f"audit: {type(error).__name__}") from error

    @staticmethod
    def _datagrams(address: tuple[str, int], records: Sequence[AuditRecord]) -> None:
        family = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for record in records:
                sender.sendto(syslog_message(record), address)

    @contextlib.contextmanager
    def _stream(self, address: tuple[str, int], *, tls: bool) -> Iterator[socket.socket]:
        with socket.create_connection(address, _TIMEOUT_S) as plain:
            if not tls:
                yield plain
                return
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            with context.wrap_socket(plain, server_hostname=address[0]) as wrapped:
                yield wrapped


def _finish(stream: socket.socket) -> None:
    """Say that this was all. A receiver that has gone away is noticed here, not at the next round's first message."""
    if isinstance(stream, ssl.SSLSocket):
        # RFC 5425 section 4.4: a close_notify; without one a receiver may take the end for an attack. It should answer
        # with its own; some just close.
        with contextlib.suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):
            stream.unwrap()
        return
    stream.shutdown(socket.SHUT_WR)
    stream.recv(1)


def syslog_message(record: AuditRecord) -> bytes:
    """One message, without a frame."""
    event = json.loads(record.text)
    priority = _DONE if event["outcome"] == 0 else _REFUSED
    head = f"<{priority}>1 {_moment(event['at'])} {_host()} fractureai {os.getpid()} {_MESSAGE_ID} - "
    return head.encode() + b"\xef\xbb\xbf" + dicom_message(record)


def dicom_message(record: AuditRecord) -> bytes:
    """The AuditMessage of PS3.15 A.5.1 as XML on one line."""
    event = json.loads(record.text)
    root = Xml.Element("AuditMessage")
    about = Xml.SubElement(
        root,
        "EventIdentification",
        EventActionCode=event["action"],
        EventDateTime=_moment(event["at"]),
        EventOutcomeIndicator=str(event["outcome"]),
    )
    _coded(about, "EventID", *event["event"])
    if event["type"]:
        _coded(about, "EventTypeCode", *event["type"])
    if event["detail"]:
        Xml.SubElement(about, "EventOutcomeDescription").text = event["detail"]
    _participant(root, event["who"])
    Xml.SubElement(root, "AuditSourceIdentification", AuditEnterpriseSiteID=record.site, AuditSourceID=_host())
    if event["what"]["kind"]:
        _object(root, event["what"]["kind"], event["what"]["id"])
    place = _object(root, "audit", f"{record.site}/{record.number}")
    Xml.SubElement(place, "ParticipantObjectDetail", type="hash", value=_base64(record.hash))
    return Xml.tostring(root, encoding="UTF-8", xml_declaration=True).replace(b"\n", b"")


def _participant(root: Xml.Element, who: dict[str, Any]) -> None:
    more = {"NetworkAccessPointID": who["address"], "NetworkAccessPointTypeCode": _IP} if who["address"] else {}
    person = Xml.SubElement(
        root,
        "ActiveParticipant",
        UserID=_plain(who["id"]) or who["kind"],
        UserName=_plain(who["name"]),
        UserIsRequestor=_REQUESTOR,
        **more,
    )
    _coded(person, "RoleIDCode", who["kind"], who["kind"], system="FractureAI")


def _object(root: Xml.Element, kind: str, ident: str) -> Xml.Element:
    type_code, role = _OBJECT_CODES.get(kind, _SYSTEM_OBJECT)
    made = Xml.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_plain(ident),
        ParticipantObjectTypeCode=type_code,
        ParticipantObjectTypeCodeRole=role,
    )
    _coded(made, "ParticipantObjectIDTypeCode", kind, f"FractureAI {kind}", system="FractureAI")
    return made


def _coded(parent: Xml.Element, name: str, code: str, meaning: str, *, system: str = "DCM") -> None:
    Xml.SubElement(parent, name, {"csd-code": code, "codeSystemName": system, "originalText": meaning})


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter for letter in text if letter.isprintable())


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _host() -> str:
    return "".join(letter for letter in socket.gethostname() if "!" <= letter <= "~")[:255] or "-"
