"""Every setting, read once: from the environment (``FRACTUREAI_…``) and an optional TOML file; unknown keys refused.

``FRACTUREAI_WEB__PORT=9000`` sets ``port`` of the group ``web``. ``FRACTUREAI_CONFIG`` names the TOML file.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from fractureai.errors import BrokenDeployment
from fractureai.service_links import service_links
from fractureai.shipped import shipped_models

_PREFIX = "FRACTUREAI_"
API_KEY_VARIABLE = "FRACTUREAI_API_KEY"
"""Whoever sends to a service may have its key here; the service itself does not read it."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _from_files(*names: str, password: bool = False) -> Callable[[Any], Any]:
    """A validator that reads secrets from files: ``name_file`` holds ``name``; ``password_file``, what ``url`` lacks.

    A file wins over the value itself. Trailing line breaks do not count.
    """

    def read(values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        read_in = {name: _secret(values[f"{name}_file"]) for name in names if values.get(f"{name}_file")}
        values = {**values, **read_in}
        if password and values.get("password_file") and values.get("url"):
            values["url"] = _with_password(values["url"], _secret(values["password_file"]))
        return values

    return read


def _secret(file: str | Path) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from error
    if not text:
        raise ValueError(f"{file} is empty")
    return text


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    said, at, where = parts.netloc.rpartition("@")
    user = said.partition(":")[0] if at else ""
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{where}").geturl()


class StoreSettings(_Group):
    """Where bytes lie."""

    kind: Literal["local", "s3"] = "local"
    path: Path | None = Field(default=None, description="local: the folder; by default `store` in the data folder")
    endpoint: str | None = Field(default=None, description="s3: URL of the server; none for AWS")
    bucket: str = "fractureai"
    region: str = "us-east-1"
    access_key: str | None = Field(default=None, repr=False, description="s3: none for the usual AWS places")
    secret_key: str | None = Field(default=None, repr=False)
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    addressing: Literal["auto", "path", "virtual"] = Field(default="auto", description="s3: where the bucket's name is")
    ca_bundle: Path | None = Field(default=None, description="s3: certificates to check the server's against")
    encryption: Literal["AES256", "aws:kms"] | None = Field(default=None, description="s3: asked for, and insisted on")
    kms_key_id: str | None = None
    site_kms_key_ids: dict[str, str] = Field(default_factory=dict, description="s3: sites with a key of their own")
    checksum: Literal["md5", "sha256"] = "md5"
    connect_timeout_s: float = Field(default=3, gt=0, le=30)
    read_timeout_s: float = Field(default=20, gt=0, le=120)
    attempts: int = Field(default=3, ge=1, le=10)
    direct_download_s: int = Field(default=0, ge=0, le=300, description="s3: reports by signed address; 0: through us")
    public_endpoint: str | None = Field(default=None, description="s3: URL of the server for those downloads")

    _read_files = model_validator(mode="before")(_from_files("access_key", "secret_key"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.kms_key_id or self.site_kms_key_ids) and self.encryption != "aws:kms":
            raise ValueError("encryption must be aws:kms if a key is named")
        return self


class LedgerSettings(_Group):
    """Where the state of the work is kept."""

    url: str = Field(default="", repr=False, description="SQLAlchemy URL; by default SQLite in the data folder")
    url_file: Path | None = None
    password_file: Path | None = Field(default=None, description="what is put into the URL as its password")

    _read_files = model_validator(mode="before")(_from_files("url", password=True))


class QueueGroup(_Group):
    """Where ids wait for workers."""

    url: str = Field(default="", repr=False, description="redis://…, rediss://… or redis+socket:///path")
    server: Path | None = Field(default=None, description="the valkey-server or redis-server that `serve` starts")
    url_file: Path | None = None
    password_file: Path | None = Field(default=None, description="what is put into the URL as its password")
    prefix: str = "fractureai:"
    task_time_limit_s: int = Field(default=180, ge=10)
    intake_time_limit_s: int = Field(default=3600, ge=60)
    visibility_timeout_s: int = Field(default=900, ge=30)

    _read_files = model_validator(mode="before")(_from_files("url", password=True))


class WebGroup(_Group):
    """The intake and the pages."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    threads: int = Field(default=8, ge=1, le=64)
    max_file_bytes: int = Field(default=256 << 20, ge=1 << 10)
    max_request_bytes: int = Field(default=2 << 30, ge=1 << 10)
    max_files: int = Field(default=500, ge=1)
    max_open_studies: int = Field(default=100_000, ge=1)
    secret_key_file: Path | None = Field(default=None, description="signs uploads; by default made in the data folder")
    trusted_hosts: tuple[str, ...] = Field(default=(), description="names it answers to; loopback names on loopback")
    public_base_url: str | None = Field(default=None, description="how people reach it, behind a proxy")
    proxies: int = Field(default=0, ge=0, le=8, description="reverse proxies in front, whose X-Forwarded-For counts")


class WebhookGroup(_Group):
    """Who is told when a study is final."""

    url: str = Field(default="", description="https://…, or http:// to this machine; none: nobody")
    secret_file: Path | None = Field(default=None, description="what signs the messages; at least 32 bytes")
    attempts: int = Field(default=10, ge=1, le=20)
    backoff_s: float = Field(default=30, gt=0)
    timeout_s: float = Field(default=5, gt=0, le=30)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.url:
            return self
        parts = urlsplit(self.url)
        if not parts.hostname or parts.username or parts.fragment:
            raise ValueError("url is not a whole address")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS):
            raise ValueError("url must be https, or http to this machine")
        if self.secret_file is None:
            raise ValueError("secret_file is needed: nobody should believe a message that is not signed")
        return self


class SignInRule(_Group):
    """Who has ``group`` in their claim is ``role`` at ``site``."""

    group: str
    site: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    role: Literal["viewer", "reader", "admin"]


class AccessGroup(_Group):
    """Who is let in."""

    mode: Literal["auto", "closed"] = Field(default="auto", description="auto: open on loopback, closed elsewhere")
    oidc_issuer: str = Field(default="", description="the OpenID provider people sign in at; none: local accounts only")
    oidc_client_id: str = ""
    oidc_client_secret_file: Path | None = Field(default=None, description="none for a public client")
    oidc_scopes: str = "openid profile email"
    oidc_claim: str = Field(default="groups", description="which claim says what somebody is; dots lead into objects")
    oidc_rules: tuple[SignInRule, ...] = Field(default=(), description="the first that fits counts; none: not let in")
    session_idle_s: float = Field(default=3600, ge=60)
    session_absolute_s: float = Field(default=12 * 3600, ge=60)
    upload_token_s: float = Field(default=3 * 24 * 3600, ge=60, description="how long an upload may be gone on with")
    key_budget: str = Field(default="6000/minute", description="requests of one key or person")
    address_budget: str = Field(default="600/minute", description="requests of one address that has not said who it is")
    refused_budget: str = Field(default="30/5minutes", description="refused keys and sign-ins of one address")
    account_budget: str = Field(default="10/15minutes", description="refused sign-ins to one account")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for budget in (self.key_budget, self.address_budget, self.refused_budget, self.account_budget):
            if not re.fullmatch(r"[1-9]\d{0,8}/([1-9]\d{0,3})?(second|minute|hour|day)s?", budget):
                raise ValueError(f"a budget is written like 600/minute or 30/5minutes, not {budget!r}")
        if not self.oidc_issuer:
            return self
        parts = urlsplit(self.oidc_issuer)
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)
        ):
            raise ValueError("oidc_issuer must be https, or http to this machine")
        if not self.oidc_client_id:
            raise ValueError("oidc_client_id is needed with oidc_issuer")
        if not self.oidc_rules:
            raise ValueError("oidc_rules is needed with oidc_issuer: without one nobody would be let in")
        if "openid" not in self.oidc_scopes.split():
            raise ValueError("oidc_scopes must hold openid")
        return self


_AE_TITLE = r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$"


class DicomGroup(_Group):
    """Images from and results to DICOM peers."""

    peers_file: Path | None = Field(default=None, description="who may send, and where results go; docs/dicom.md")
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535, description="of the listener; 0: `serve` starts none")
    ae_title: str = Field(default="FRACTUREAI", pattern=_AE_TITLE)
    called_ae_titles: tuple[Annotated[str, Field(pattern=_AE_TITLE)], ...] = Field(
        default=(), description="what callers may call the listener; empty: anything"
    )
    quiet_s: float = Field(default=30, gt=0, description="an examination is complete so long after its last image")
    quiet_at_most_s: float = Field(default=900, gt=0, description="and so long after its first, however many come")
    revise_within_s: float = Field(default=24 * 3600, ge=60, description="so long, a late image revises the result")
    max_associations: int = Field(default=25, ge=1, le=500)
    max_associations_of_address: int = Field(default=20, ge=1, le=500, description="so that one leaves room for others")
    max_pdu_bytes: int = Field(default=1 << 17, ge=1 << 12, le=1 << 24)
    max_instance_bytes: int = Field(default=256 << 20, ge=1 << 10)
    tls_certificate_file: Path | None = Field(default=None, description="with it and its key, the listener speaks TLS")
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = Field(default=None, description="senders must show a certificate signed by one of these")
    attempts: int = Field(default=20, ge=1, le=100, description="at sending the results of a study to a destination")
    backoff_s: float = Field(default=30, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file belong together")
        if self.tls_ca_file is not None and self.tls_certificate_file is None:
            raise ValueError("tls_ca_file needs tls_certificate_file")
        return self


class AuditGroup(_Group):
    """Who is told of what is done and seen."""

    syslog_url: str = Field(default="", description="tls://host:6514, tcp://host:601 or udp://host:514; none: nobody")
    syslog_ca_file: Path | None = Field(default=None, description="tls: who signs its certificate; the system's list")
    secret_file: Path | None = Field(default=None, description="what seals are made with; by default made in the data")

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = urlsplit(self.syslog_url)
        if self.syslog_url and (parts.scheme not in {"tls", "tcp", "udp"} or not parts.hostname or parts.path):
            raise ValueError("syslog_url is written like tls://host:6514")
        return self


class RetentionGroup(_Group):
    """How long studies are kept."""

    days: int = Field(default=0, ge=0, description="final studies older than this are deleted; 0: never")
    site_days: dict[str, int] = Field(default_factory=dict, description="the same, by site")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(days < 0 for days in self.site_days.values()):
            raise ValueError("site_days are whole numbers from 0")
        return self


class FhirGroup(_Group):
    """A FHIR server that gets every result."""

    url: str = Field(default="", description="its base, https://…, or http:// to this machine; none: nobody")
    token_file: Path | None = Field(default=None, description="a bearer token")
    site: str | None = Field(default=None, description="results of this site only")
    pdf: Literal["data", "url", "none"] = "data"
    timeout_s: float = Field(default=20, gt=0, le=60)

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = urlsplit(self.url)
        if self.url and (not parts.hostname or parts.username or parts.query or parts.fragment):
            raise ValueError("url is not the base of a FHIR server")
        if self.url and parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS):
            raise ValueError("url must be https, or http to this machine: patient data goes there")
        return self


class DecodeGroup(_Group):
    """Limits on untrusted files; checked before their cost is paid."""

    timeout_s: float = Field(default=20, gt=0)
    memory_bytes: int = Field(default=3 << 29, ge=512 << 20)
    max_bytes: int = Field(default=256 << 20, ge=1 << 10)
    max_pixels: int = Field(default=40_000_000, ge=1 << 10)
    min_side_px: int = Field(default=32, ge=1)
    files_per_child: int = Field(default=500, ge=1)


class ArchiveGroup(_Group):
    """Limits on one ZIP; checked on its directory, before a member is read."""

    max_members: int = Field(default=20_000, ge=1, le=65_535)
    max_unpacked_bytes: int = Field(default=8 << 30, ge=1 << 10)
    max_member_bytes: int = Field(default=256 << 20, ge=1 << 10)
    max_ratio: float = Field(default=500, gt=1)
    max_depth: int = Field(default=32, ge=1)


class DeidentifyGroup(_Group):
    """Images are rid of names on the way in."""

    key_file: Path | None = Field(default=None, description="at least 32 random bytes; switches it on")
    sites: tuple[str, ...] = Field(default=(), description="at these sites only")
    dates: Literal["shift", "remove"] = "shift"
    book: Literal["encrypted", "plain", "none"] = Field(default="encrypted", description="whose each pseudonym is")
    book_file: Path | None = Field(default=None, description="by default `pseudonyms.book` in the data folder")


class ReportsGroup(_Group):
    """What comes out beside the PDF and the JSON."""

    dicom: bool = Field(default=True, description="DICOM results, where the images came as DICOM")


class WorkGroup(_Group):
    """How often and how long."""

    lease_s: float = Field(default=30, ge=1)
    max_attempts: int = Field(default=3, ge=1)
    backoff_s: float = Field(default=10, ge=0)
    longest_wait_s: float = Field(default=120, gt=0)
    outage_s: float = Field(default=24 * 3600, gt=0)
    patience_s: float = Field(default=900, gt=0)
    walk_in_studies: int = Field(default=10, ge=0)
    portion: int = Field(default=500, ge=1)
    reconcile_every_s: float = Field(default=1, gt=0)
    leader_lease_s: float = Field(default=10, ge=1)
    stand_still_s: float = Field(default=60, ge=5)
    max_memory_bytes: int = Field(default=2 << 30, ge=256 << 20)
    pulse_dir: Path | None = Field(default=None, description="where processes of one machine say that they get on")


class MetricsGroup(_Group):
    """Who may see how the work goes."""

    host: str = Field(default="127.0.0.1", description="where the exporter of a process listens")
    port: int = Field(default=0, ge=0, le=65535, description="port of /metrics, /healthz, /readyz; 0: no exporter")
    dir: Path | None = Field(default=None, description="where the processes of one machine count together")
    allow: tuple[str, ...] = Field(
        default=("127.0.0.0/8", "::1/128"), description="networks that may read /metrics of the web"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for network in self.allow:
            ipaddress.ip_network(network)
        return self


class Settings(BaseSettings):
    """The installation."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Path("fractureai-data")
    models_dir: Path = Field(default_factory=shipped_models, description="by default those that were installed with it")
    site: str = Field(default="local", description="the tenant of everything that comes in without a key")
    inference_threads: int = Field(default=0, ge=0, description="0: as many as the machine has cores")
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    store: StoreSettings = StoreSettings()
    ledger: LedgerSettings = LedgerSettings()
    queue: QueueGroup = QueueGroup()
    web: WebGroup = WebGroup()
    access: AccessGroup = AccessGroup()
    audit: AuditGroup = AuditGroup()
    retention: RetentionGroup = RetentionGroup()
    decode: DecodeGroup = DecodeGroup()
    archive: ArchiveGroup = ArchiveGroup()
    work: WorkGroup = WorkGroup()
    fhir: FhirGroup = FhirGroup()
    reports: ReportsGroup = ReportsGroup()
    deidentify: DeidentifyGroup = DeidentifyGroup()
    webhook: WebhookGroup = WebhookGroup()
    dicom: DicomGroup = DicomGroup()
    metrics: MetricsGroup = MetricsGroup()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = os.environ.get(f"{_PREFIX}CONFIG")
        if not file:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(file))

    @property
    def store_path(self) -> Path:
        """Folder of the local store."""
        return self.store.path or self.data_dir / "store"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger.url or f"sqlite:///{self.ledger_file.resolve()}"

    @property
    def ledger_file(self) -> Path:
        """The ledger on SQLite, where no other is set."""
        return self.data_dir / "ledger.sqlite"


def load_settings(**overrides: object) -> Settings:
    """Read the settings; ``overrides`` (from the command line) win.

    Raises
    ------
    BrokenDeployment
        If a value is wrong or a name unknown; the message names each.
    """
    known = {f"{_PREFIX}{name}".upper() for name in Settings.model_fields} | {f"{_PREFIX}CONFIG", API_KEY_VARIABLE}
    unknown = [
        name
        for name in os.environ.keys() - service_links(os.environ)
        if name.startswith(_PREFIX) and name.split("__", 1)[0] not in known and not name.startswith(f"{_PREFIX}TEST")
    ]
    if unknown:
        raise BrokenDeployment(f"unknown settings in the environment: {', '.join(sorted(unknown))}")
    config = os.environ.get(f"{_PREFIX}CONFIG")
    if config and not Path(config).is_file():
        raise BrokenDeployment(f"{_PREFIX}CONFIG names no file: {config}")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise BrokenDeployment("settings are not valid:\n  " + "\n  ".join(lines)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise BrokenDeployment(f"{config} cannot be read as TOML: {error}") from error
