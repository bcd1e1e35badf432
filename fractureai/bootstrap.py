"""Where the parts are put together. Alone in knowing every adapter; builds what is heavy on first use."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fractureai.domain.examinations import Quiet
from fractureai.errors import BrokenDeployment
from fractureai.settings import LOOPBACK_HOSTS, Settings
from fractureai.stages.ports import WorkPolicy

if TYPE_CHECKING:
    from celery import Celery
    from flask import Flask
    from prometheus_client import CollectorRegistry

    from fractureai.access.oidc import Provider
    from fractureai.dicom.delivery import PeerSender
    from fractureai.dicom.listener import Listener, ListenerSettings
    from fractureai.dicom.peers import Peers
    from fractureai.domain import ports
    from fractureai.domain.access import Gate
    from fractureai.domain.records import Subscriber
    from fractureai.metrics.shared import Meters
    from fractureai.stages.forget import ForgetPorts
    from fractureai.tasks.heartbeats import Heartbeats
    from fractureai.web.data_flows import DataFlows

ROLES: dict[str, tuple[str, ...]] = {
    "inference": ("classify", "detect"),
    "reports": ("explain", "report"),
    "intake": ("intake", "delivery"),
    "delivery": ("delivery",),
}
"""Which queues a worker of each role serves."""


class Deployment:
    """The adapters of one process, as the settings choose them. Implements ``stages.ports.StagePorts``.

    Every part is imported and built when it is first asked for: the web never loads a decoder, a reports worker never
    an inference engine.
    """

    def __init__(self, settings: Settings, meters: Meters | None = None) -> None:
        self.settings = settings
        self._meters = meters

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since the epoch."""
        return time.time

    @property
    def new_id(self) -> Callable[[], str]:
        """Random ids, 32 hex digits."""
        return lambda: uuid.uuid4().hex

    @cached_property
    def software_version(self) -> str:
        """The version of this package."""
        return version("fractureai")

    @cached_property
    def policy(self) -> WorkPolicy:
        """The rules of the work."""
        work = self.settings.work
        webhook = self.settings.webhook
        return WorkPolicy(
            lease_s=work.lease_s,
            longest_wait_s=work.longest_wait_s,
            outage_s=work.outage_s,
            longest_s=self.settings.queue.task_time_limit_s,
            longest_intake_s=self.settings.queue.intake_time_limit_s,
            walk_in_studies=work.walk_in_studies,
            portion=work.portion,
            max_attempts=work.max_attempts,
            backoff_s=work.backoff_s,
            patience_s=work.patience_s,
            delivery_attempts=webhook.attempts,
            delivery_backoff_s=webhook.backoff_s,
            results_attempts=self.settings.dicom.attempts,
            results_backoff_s=self.settings.dicom.backoff_s,
            public_base_url=(self.settings.web.public_base_url or "").rstrip("/"),
            quiet=Quiet(self.settings.dicom.quiet_s, self.settings.dicom.quiet_at_most_s),
            revise_within_s=self.settings.dicom.revise_within_s,
        )

    @cached_property
    def store(self) -> ports.ObjectStore:
        """The local folder or the bucket; where it is wanted, behind what rids images of names."""
        if self.deidentifier is None:
            return self.bare_store
        from fractureai.stages.deidentify import DeidentifyingStore

        return DeidentifyingStore(self.bare_store, self.deidentifier, self.archives, self.wants_deidentified)

    @cached_property
    def deidentifier(self) -> ports.Deidentifier | None:
        """What rids files of whose they are; ``None`` where no site wants it."""
        chosen = self.settings.deidentify
        if chosen.key_file is None:
            return None
        from fractureai.domain.pseudonyms import Pseudonyms
        from fractureai.imaging.deidentifier import ChildDeidentifier
        from fractureai.imaging.limits import DecodeLimits
        from fractureai.storage.pseudonym_book import FileBook, NoBook

        key = _secret_in(chosen.key_file)
        file = chosen.book_file or self.settings.data_dir / "pseudonyms.book"
        book = NoBook() if chosen.book == "none" else FileBook(file, key if chosen.book == "encrypted" else None)
        return ChildDeidentifier(
            DecodeLimits(**self.settings.decode.model_dump()),
            Pseudonyms(key),
            book,
            shift_dates=chosen.dates == "shift",
        )

    def wants_deidentified(self, site: str) -> bool:
        """Whether images of a site are rid of names on the way in."""
        sites = self.settings.deidentify.sites
        return self.deidentifier is not None and (not sites or site in sites)

    def _file_name(self, site: str, name: str) -> str:
        """What a file is called from here on."""
        wanted = self.deidentifier if self.wants_deidentified(site) else None
        return wanted.file_name(site, name) if wanted else name

    @cached_property
    def bare_store(self) -> ports.ObjectStore:
        """The local folder or the bucket itself."""
        chosen = self.settings.store
        if chosen.kind == "local":
            from fractureai.storage.local import LocalStore

            return LocalStore(self.settings.store_path)
        from fractureai.storage.s3 import S3Settings, S3Store

        return S3Store(
            S3Settings(
                bucket=chosen.bucket,
                endpoint=chosen.endpoint,
                region=chosen.region,
                access_key=chosen.access_key,
                secret_key=chosen.secret_key,
                encryption=chosen.encryption,
                kms_key_id=chosen.kms_key_id,
                site_keys=chosen.site_kms_key_ids,
                checksum=chosen.checksum,
                addressing=chosen.addressing,
                ca_bundle=chosen.ca_bundle,
                public_endpoint=chosen.public_endpoint,
                connect_timeout_s=chosen.connect_timeout_s,
                read_timeout_s=chosen.read_timeout_s,
                attempts=chosen.attempts,
            )
        )

    @cached_property
    def ledger(self) -> ports.Ledger:
        """SQLite or PostgreSQL."""
        from fractureai.metrics.ledger import MeteredLedger
        from fractureai.storage.ledger.sql import SqlLedger

        ledger = SqlLedger.open(
            self.settings.ledger_url, outbox=bool(self.settings.webhook.url), subscribers=self._subscribers()
        )
        return cast("ports.Ledger", MeteredLedger(ledger, self.meters.instruments))

    @cached_property
    def meters(self) -> Meters:
        """What this process counts."""
        from fractureai.metrics.shared import Meters

        return self._meters or Meters()

    @cached_property
    def registry(self) -> CollectorRegistry:
        """What a scrape of this process shows, with the work that is open in the whole installation."""
        from fractureai.metrics.work import WorkCollector

        return self.meters.registry(WorkCollector(lambda: self.ledger, lambda: self.queue, self.clock))

    @cached_property
    def celery(self) -> Celery:
        """The Celery application with its tasks."""
        from fractureai.tasks.app import QueueSettings, create_app
        from fractureai.tasks.observing import carry_request_ids
        from fractureai.tasks.pipeline import register_tasks

        queue = self.settings.queue
        if not queue.url:
            raise BrokenDeployment("no queue: set FRACTUREAI_QUEUE__URL, or use `fractureai serve`, which starts one")
        app = create_app(
            QueueSettings(
                queue.url,
                queue.prefix,
                queue.task_time_limit_s,
                queue.visibility_timeout_s,
                intake_time_limit_s=queue.intake_time_limit_s,
                max_memory_bytes=self.settings.work.max_memory_bytes,
            )
        )
        register_tasks(app, lambda: self)
        carry_request_ids()
        return app

    @cached_property
    def heartbeats(self) -> Heartbeats:
        """Which processes are alive."""
        from fractureai.tasks.heartbeats import Heartbeats

        return Heartbeats(self.celery, self.settings.queue.prefix)

    @cached_property
    def queue(self) -> ports.Queue:
        """Celery on Redis."""
        from fractureai.tasks.queue import CeleryQueue

        return CeleryQueue(self.celery)

    @cached_property
    def decoder(self) -> ports.Decoder:
        """The decoding child."""
        from fractureai.imaging.decoder import ChildDecoder
        from fractureai.imaging.limits import DecodeLimits

        return ChildDecoder(DecodeLimits(**self.settings.decode.model_dump()))

    @cached_property
    def archives(self) -> ports.ArchiveReader:
        """ZIP files."""
        from fractureai.imaging.archive import ZipArchiveReader
        from fractureai.imaging.limits import ArchiveLimits

        return ZipArchiveReader(ArchiveLimits(**self.settings.archive.model_dump()))

    @cached_property
    def codec(self) -> ports.ImageCodec:
        """Pictures of our own."""
        from fractureai.imaging.codec import CvCodec

        return CvCodec()

    @cached_property
    def models(self) -> ports.Models:
        """The shipped models on OpenVINO."""
        from fractureai.inference.openvino_engine import openvino_engine
        from fractureai.inference.registry import ModelRegistry

        return ModelRegistry(self.settings.models_dir, openvino_engine(threads=self.settings.inference_threads))

    @cached_property
    def notifier(self) -> ports.Notifier:
        """The webhook."""
        from fractureai.webhook.sender import HttpNotifier

        webhook = self.settings.webhook
        if not webhook.url or webhook.secret_file is None:
            raise BrokenDeployment("there are messages to deliver, but no FRACTUREAI_WEBHOOK__URL")
        return HttpNotifier(webhook.url, _secret_in(webhook.secret_file), timeout_s=webhook.timeout_s)

    @cached_property
    def peers(self) -> Peers:
        """Who may send DICOM, and where results go."""
        from fractureai.dicom.peers import read_peers

        return read_peers(self.settings.dicom.peers_file)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that images come in for."""
        listed = (caller.site for caller in self.peers.caller)
        return tuple(dict.fromkeys((self.settings.site, *listed, *self.ledger.sites())))

    @cached_property
    def sender(self) -> PeerSender:
        """Results to DIMSE and DICOMweb peers."""
        from fractureai.dicom.delivery import PeerSender

        return PeerSender(self.peers, self.settings.dicom.ae_title)

    def listener(self, *, port: int | None = None) -> Listener:
        """The DICOM listener, listening.

        Raises
        ------
        BrokenDeployment
            If it may be reached from elsewhere and nobody said who may send.
        """
        from fractureai.dicom.listener import Listener

        settings = self.listener_settings(port=port)
        # Built now: a sender that waits for its first answer must not wait for imports and migrations.
        _ = self.store, self.ledger
        return Listener(settings, self, self.clock, self.new_id)

    def listener_settings(self, *, port: int | None = None) -> ListenerSettings:
        """What :meth:`listener` works by; raises as it does, without listening."""
        from fractureai.dicom.listener import ListenerSettings

        chosen = self.settings.dicom
        if chosen.host not in LOOPBACK_HOSTS and not self.peers.caller and chosen.tls_ca_file is None:
            raise BrokenDeployment(
                f"the DICOM listener would take images from anybody who reaches {chosen.host}: list [[caller]] "
                "entries in FRACTUREAI_DICOM__PEERS_FILE, or demand certificates with FRACTUREAI_DICOM__TLS_CA_FILE"
            )
        return ListenerSettings(
            host=chosen.host,
            port=chosen.port if port is None else port,
            ae_title=chosen.ae_title,
            called_ae_titles=frozenset(chosen.called_ae_titles),
            site=self.settings.site,
            peers=self.peers,
            quiet=self.policy.quiet,
            max_associations=chosen.max_associations,
            max_associations_of_address=chosen.max_associations_of_address,
            max_pdu_bytes=chosen.max_pdu_bytes,
            max_instance_bytes=chosen.max_instance_bytes,
            certificate_file=chosen.tls_certificate_file,
            key_file=chosen.tls_key_file,
            ca_file=chosen.tls_ca_file,
        )

    def _subscribers(self) -> tuple[Subscriber, ...]:
        # pydantic and the peers file only where one is named.
        listed = self.peers.subscribers if self.settings.dicom.peers_file else ()
        if not self.settings.fhir.url:
            return listed
        from fractureai.domain.records import Channel, Subscriber

        return (*listed, Subscriber(Channel.FHIR, site=self.settings.fhir.site, only_done=True))

    @cached_property
    def report_writer(self) -> ports.ReportWriter:
        """Reportlab."""
        from fractureai.reports.pdf import PdfReportWriter

        return PdfReportWriter()

    @cached_property
    def dicom_writer(self) -> ports.DicomResultWriter | None:
        """DICOM objects, unless they are switched off."""
        if not self.settings.reports.dicom:
            return None
        from fractureai.reports.dicom.writer import StudyDicomWriter

        return StudyDicomWriter()

    @cached_property
    def gate(self) -> Gate | None:
        """Who is let in; ``None`` where nobody is asked, because only this machine is answered."""
        if self.settings.access.mode == "auto" and self.settings.web.host in LOOPBACK_HOSTS:
            return None
        from fractureai.access.gate import AccessGate, SessionRules
        from fractureai.access.limits import Budgets, Limiter, budgets_of

        chosen = self.settings.access
        budgets = Budgets(chosen.key_budget, chosen.address_budget, chosen.refused_budget, chosen.account_budget)
        limiter = Limiter(budgets_of(budgets), self.settings.queue.url, self.settings.queue.prefix)
        rules = SessionRules(chosen.session_idle_s, chosen.session_absolute_s)
        return AccessGate(self.ledger, limiter, rules, self._provider())

    def _provider(self) -> Provider | None:
        chosen = self.settings.access
        if not chosen.oidc_issuer:
            return None
        from fractureai.access.oidc import GroupRule, Provider, ProviderSettings
        from fractureai.domain.access import Role

        file = chosen.oidc_client_secret_file
        return Provider(
            ProviderSettings(
                issuer=chosen.oidc_issuer,
                client_id=chosen.oidc_client_id,
                client_secret=_text_in(file) if file else "",
                scopes=chosen.oidc_scopes,
                claim=chosen.oidc_claim,
                rules=tuple(GroupRule(rule.group, rule.site, Role(rule.role)) for rule in chosen.oidc_rules),
            )
        )

    @cached_property
    def audit_secret(self) -> bytes:
        """What seals of the audit and certificates are made with, and by what held patients are known.

        Raises
        ------
        BrokenDeployment
            If it is not there and was: another one would call every seal forged, and let held patients be deleted.
        """
        file = self.settings.audit.secret_file or self.settings.data_dir / "audit.secret"
        # Looked for again: another process may have made and used it meanwhile.
        if not file.exists() and self._audit_secret_was_used() and not file.exists():
            raise BrokenDeployment(
                f"{file} is not there, but seals, certificates or holds were made with it: bring it back, or name it "
                "by FRACTUREAI_AUDIT__SECRET_FILE. If it is lost for good, write 32 random bytes there: what was made "
                "with the old one counts as forged then, and patients must be held anew. See docs/privacy.md."
            )
        return self._secret(file)

    def _audit_secret_was_used(self) -> bool:
        from fractureai.domain import keys
        from fractureai.domain.retention import HoldKind

        if any(True for prefix in (keys.SEALS, keys.CERTIFICATES) for _ in self.store.keys(prefix)):
            return True
        return any(hold.kind is HoldKind.PATIENT for site in self.sites for hold in self.ledger.holds(site))

    @property
    def forget_ports(self) -> ForgetPorts:
        """What deleting studies reaches."""
        from fractureai.stages.forget import ForgetPorts

        return ForgetPorts(self.store, self.ledger, self.audit_secret)

    def retention_days(self, site: str) -> int:
        """After how many days studies of a site are deleted; 0 for never."""
        return self.settings.retention.site_days.get(site, self.settings.retention.days)

    def note_start(self) -> None:
        """Write into the audit that the service starts, and with what: names and hashes, no values that are secret."""
        from fractureai.domain.access import Kind
        from fractureai.domain.audit import Act, AuditEvent

        listens = f"{self.settings.web.host}:{self.settings.web.port}"
        asks = "asks nobody" if self.gate is None else "asks everybody"
        settings = hashlib.sha256(repr(self.settings).encode()).hexdigest()[:16]
        self.ledger.note(
            AuditEvent(
                self.settings.site,
                Act.START,
                self.clock(),
                Kind.OPERATOR.value,
                "service",
                f"fractureai {self.software_version}",
                detail=f"listens on {listens}, {asks}, settings {settings}",
            )
        )

    def check_access(self) -> None:
        """Refuse to open a service that others can reach and nobody could be let in to.

        Raises
        ------
        BrokenDeployment
            If it is to ask who comes, and there is no key, no account and no provider yet.
        """
        if self.gate is None or self.gate.has_provider or self.ledger.accounts():
            return
        if any(key.valid(self.clock()) for key in self.ledger.api_keys()):
            return
        raise BrokenDeployment(
            f"not opened on {self.settings.web.host}: it asks everybody who they are, and nobody could be let in yet. "
            "Make a key (fractureai keys create), add an account (fractureai accounts add) or name an OpenID provider "
            "(FRACTUREAI_ACCESS__OIDC_ISSUER); or listen on 127.0.0.1. See docs/access.md."
        )

    @cached_property
    def instances(self) -> ports.InstanceReader:
        """Which instance a DICOM file is."""
        from fractureai.dicom.part10 import Part10Reader

        return Part10Reader()

    @cached_property
    def fhir_sender(self) -> ports.FhirSender:
        """The FHIR server."""
        from fractureai.webhook.fhir_server import FhirServer

        chosen = self.settings.fhir
        if not chosen.url:
            raise BrokenDeployment("there are results to post, but no FRACTUREAI_FHIR__URL")
        token = _text_in(chosen.token_file) if chosen.token_file else ""
        return FhirServer(chosen.url, token, chosen.pdf, timeout_s=chosen.timeout_s)

    @cached_property
    def fhir(self) -> ports.FhirWriter:
        """Results for systems that speak FHIR."""
        from fractureai.reports.fhir import FhirDocumentWriter

        return FhirDocumentWriter()

    def web(self) -> Flask:
        """The web application."""
        self.check_access()
        self.note_start()
        from fractureai.web.app import WebPorts, WebSettings, create_app
        from fractureai.web.observing import Observing

        chosen = self.settings.web
        return create_app(
            WebPorts(
                self.store,
                self.ledger,
                self.queue,
                self.models,
                self.clock,
                self.new_id,
                self.policy,
                self.gate,
                self.fhir,
                self.instances,
                self._file_name if self.deidentifier else None,
                self._process_states,
            ),
            WebSettings(
                site=self.settings.site,
                max_file_bytes=chosen.max_file_bytes,
                max_request_bytes=chosen.max_request_bytes,
                max_files=chosen.max_files,
                max_open_studies=chosen.max_open_studies,
                # Half of the threads at most wait for news; the others always answer.
                max_waiters=max(1, chosen.threads // 2),
                software_version=self.software_version,
                secret_key=self._web_secret(),
                trusted_hosts=chosen.trusted_hosts or _loopback_names(chosen.host),
                public_base_url=chosen.public_base_url,
                upload_token_s=self.settings.access.upload_token_s,
                proxies=chosen.proxies,
                direct_download_s=self.settings.store.direct_download_s,
                data_flows=self.data_flows,
            ),
            Observing(self.meters.instruments, self.registry, self.settings.metrics.allow),
        )

    def _process_states(self) -> dict[str, str]:
        from fractureai.tasks.pulse import states

        folder = self.settings.work.pulse_dir
        return states(folder) if folder else {}

    @property
    def data_flows(self) -> DataFlows:
        """Where data go, for what the pages say of it."""
        from fractureai.web.data_flows import DataFlows

        settings = self.settings
        return DataFlows(
            dicom_destinations=len(self.peers.destination) if settings.dicom.peers_file else 0,
            fhir=bool(settings.fhir.url),
            webhook=bool(settings.webhook.url),
            audit_forwarded=bool(settings.audit.syslog_url),
            object_store=settings.store.kind == "s3",
            direct_downloads=settings.store.kind == "s3" and settings.store.direct_download_s > 0,
            provider=bool(settings.access.oidc_issuer),
            deidentified="" if settings.deidentify.key_file is None else "some" if settings.deidentify.sites else "all",
        )

    def _web_secret(self) -> bytes:
        """The key that signs uploads: the same in every web process and after a restart."""
        return self._secret(self.settings.web.secret_key_file or self.settings.data_dir / "web.secret")

    @staticmethod
    def _secret(file: Path) -> bytes:
        """The secret in a file, which is made if it is not there."""
        if not file.exists():
            try:
                _make_secret(file)
            except OSError as error:
                raise BrokenDeployment(f"{file} is not there and cannot be made: {error.strerror}") from error
        return _secret_in(file)

    def check_parts(self, role: str) -> None:
        """Check, before anything heavy is loaded, that a process of this role can work.

        Raises
        ------
        BrokenDeployment
            If models are missing or damaged; the message names what.
        """
        if role == "inference":
            self.models.check()

    def warm(self, role: str) -> None:
        """Load what a worker of this role needs before its first task.

        Raises
        ------
        BrokenDeployment, ImportError
            If a part is missing; then it must take no work.
        """
        parts = {"inference": ("decoder", "codec", "models"), "reports": ("codec", "report_writer", "dicom_writer")}
        for name in parts.get(role, ("decoder", "archives")):
            getattr(self, name)
        if role == "inference":
            self.models.region()  # an empty folder has nothing to warm, and is no installation
            warm_up = getattr(self.models, "warm", None)
            if warm_up:
                warm_up()


def _make_secret(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{uuid.uuid4().hex}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(secrets.token_bytes(32))
    with contextlib.suppress(FileExistsError):  # another process was first: its key counts
        os.link(fresh, file)
    fresh.unlink()


def _secret_in(file: Path) -> bytes:
    try:
        secret = file.read_bytes()
    except OSError as error:
        raise BrokenDeployment(f"{file} cannot be read: {error.strerror}") from error
    if len(secret) < 32:
        raise BrokenDeployment(f"{file} must hold at least 32 random bytes")
    return secret


def _text_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenDeployment(f"{file} cannot be read as text") from error


def _loopback_names(host: str) -> tuple[str, ...]:
    """What a request may call a service that listens on loopback; none, meaning any, for one that does not."""
    if host not in LOOPBACK_HOSTS:
        return ()
    return tuple(sorted(f"[{name}]" if ":" in name else name for name in LOOPBACK_HOSTS))
