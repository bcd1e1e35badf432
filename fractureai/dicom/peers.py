"""The peers file: who may send to us, and where results go. Read and checked once, at start.

::

    [[caller]]
    ae_title = "XRAY1"
    address = "10.1.2.0/24"
    site = "north"

    [[destination]]
    name = "pacs"
    kind = "dimse"
    ae_title = "ARCHIVE"
    host = "pacs.example"
    port = 104
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fractureai.domain.dicom_objects import DicomKind
from fractureai.domain.records import Channel, Subscriber
from fractureai.domain.study import check_site
from fractureai.errors import BrokenDeployment

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def _ae_title(value: str) -> str:
    if not _AE_TITLE.fullmatch(value) or value != value.strip():
        raise ValueError("an AE title has 1 to 16 plain letters, without a backslash and spaces around it")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("a name has 1 to 24 lower-case letters, digits and hyphens")
    return value


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


def _readable(value: Path) -> Path:
    try:
        value.open("rb").close()
    except OSError as error:
        raise ValueError(f"{value} cannot be read: {error.strerror}") from error
    return value


AeTitle = Annotated[str, AfterValidator(_ae_title)]
File = Annotated[Path, AfterValidator(_readable)]
Site = Annotated[str, AfterValidator(check_site)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(_Strict):
    """What a destination is believed by, and what we show it."""

    ca_file: File | None = Field(default=None, description="who signs its certificate; by default the system's list")
    certificate_file: File | None = None
    key_file: File | None = None

    @model_validator(mode="after")
    def _check(self) -> Tls:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        self.context()
        return self

    def context(self) -> ssl.SSLContext:
        """For a connection to it."""
        try:
            made = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                made.load_cert_chain(self.certificate_file, self.key_file)
        except (ssl.SSLError, OSError) as error:
            raise ValueError(f"the certificate files are not usable: {error}") from error
        return made


class Caller(_Strict):
    """Somebody who may send to us, and whose site it is."""

    ae_title: AeTitle | None = Field(default=None, description="any, if none is named")
    address: Annotated[str, AfterValidator(_network)] | None = Field(default=None, description="an address or network")
    site: Site

    @model_validator(mode="after")
    def _check(self) -> Caller:
        if self.ae_title is None and self.address is None:
            raise ValueError("a caller has an ae_title, an address or both")
        return self

    def is_meant(self, ae_title: str, address: str) -> bool:
        """Whether a caller that says so, from there, is this one."""
        if self.ae_title is not None and self.ae_title != ae_title:
            return False
        return self.address is None or _in_network(address, self.address)


class Destination(_Strict):
    """Where results go."""

    name: Annotated[str, AfterValidator(_name)]
    kind: Literal["dimse", "dicomweb"]
    site: Site | None = Field(default=None, description="whose results; by default everybody's")
    send: tuple[DicomKind, ...] = tuple(DicomKind)
    automatic: bool = Field(default=True, description="every finished study; false: only by hand")
    check: Literal["auto", "required", "off"] = Field(default="auto", description="look whether what was sent is there")
    timeout_s: float = Field(default=20, gt=0, le=60)
    tls: Tls | None = None
    # dimse
    ae_title: AeTitle | None = None
    calling_ae_title: AeTitle | None = Field(default=None, description="what we call ourselves there")
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    # dicomweb
    url: str | None = Field(default=None, description="the service's root; /studies is added")
    auth: Literal["none", "basic", "bearer"] = "none"
    auth_file: File | None = Field(default=None, description="basic: name:password; bearer: the token")

    @model_validator(mode="after")
    def _check(self) -> Destination:
        if not self.send:
            raise ValueError("send names nothing")
        return self._check_dimse() if self.kind == "dimse" else self._check_dicomweb()

    def _check_dimse(self) -> Destination:
        missing = [name for name in ("ae_title", "host", "port") if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a dimse destination needs {', '.join(missing)}")
        if self.url is not None or self.auth != "none":
            raise ValueError("url and auth belong to dicomweb destinations")
        return self

    def _check_dicomweb(self) -> Destination:
        parts = urlsplit(self.url or "")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ValueError("a dicomweb destination needs a url such as https://pacs.example/dicom-web")
        if self.auth != "none" and self.auth_file is None:
            raise ValueError("auth needs auth_file: secrets do not stand in the peers file")
        if self.auth != "none" and parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
            raise ValueError("a secret is not sent over plain http: use https")
        if any(value is not None for value in (self.host, self.port, self.ae_title)):
            raise ValueError("host, port and ae_title belong to dimse destinations")
        return self

    @property
    def where(self) -> str:
        """The address, for people."""
        return f"{self.ae_title}@{self.host}:{self.port}" if self.kind == "dimse" else str(self.url)

    @property
    def subscriber(self) -> Subscriber:
        """How the ledger knows it."""
        return Subscriber(Channel.DICOM, self.name, self.site, only_done=True)


class Peers(_Strict):
    """The whole file."""

    caller: tuple[Caller, ...] = ()
    destination: tuple[Destination, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Peers:
        names = [each.name for each in self.destination]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"destinations have the same name: {', '.join(twice)}")
        return self

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """Those that get every finished study of their site."""
        return tuple(each.subscriber for each in self.destination if each.automatic)

    def named(self, name: str) -> Destination:
        """The destination of that name. Raises ``BrokenDeployment`` if there is none."""
        for each in self.destination:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.destination) or "none"
        raise BrokenDeployment(f"there is no destination “{name}” in the peers file; there: {known}")

    def site_of(self, ae_title: str, address: str, *, default: str) -> str | None:
        """The site of a caller: of the first entry that fits; ``None`` if callers are listed and none fits."""
        if not self.caller:
            return default
        return next((each.site for each in self.caller if each.is_meant(ae_title, address)), None)


def read_peers(file: Path | None) -> Peers:
    """Read and check the peers file; without one there are none.

    Raises
    ------
    BrokenDeployment
        Naming everything that is wrong, each by its entry.
    """
    if file is None:
        return Peers()
    try:
        document = tomllib.loads(file.read_text())
    except OSError as error:
        raise BrokenDeployment(f"the peers file {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenDeployment(f"the peers file {file} is not TOML: {error}") from error
    try:
        return Peers(**document)
    except ValidationError as error:
        lines = [
            f"{_place(item['loc'], document)}{item['msg'].removeprefix('Value error, ')}" for item in error.errors()
        ]
        raise BrokenDeployment(f"the peers file {file} is not valid:\n  " + "\n  ".join(lines)) from error
    except TypeError as error:
        raise BrokenDeployment(f"the peers file {file} is not valid: {error}") from error


def _place(where: tuple[int | str, ...], document: dict[str, object]) -> str:
    """Where it is wrong, as people count: ``destination 2 (“pacs”), port: ``."""
    if len(where) < 2 or not isinstance(where[1], int):
        return "".join(f"{part}: " for part in where[:1])
    entries = document.get(str(where[0]))
    entry = entries[where[1]] if isinstance(entries, list) else None
    name = entry.get("name") or entry.get("ae_title") if isinstance(entry, dict) else None
    named = f" (“{name}”)" if name else ""
    what = ".".join(str(part) for part in where[2:])
    return f"{where[0]} {where[1] + 1}{named}" + (f", {what}: " if what else ": ")


def _in_network(address: str, network: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in ipaddress.ip_network(network)
