"""Where the parts are put together. Alone in knowing every adapter; builds what is heavy on first use."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fractureai.errors import BrokenDeployment
from fractureai.settings import LOOPBACK_HOSTS, Settings
from fractureai.stages.ports import WorkPolicy

if TYPE_CHECKING:
    from celery import Celery
    from flask import Flask
    from prometheus_client import CollectorRegistry

    from fractureai.domain import ports
    from fractureai.metrics.shared import Meters

ROLES: dict[str, tuple[str, ...]] = {
    "inference": ("classify", "detect"),
    "reports": ("explain", "report"),
    "intake": ("intake", "delivery"),
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
            max_attempts=work.max_attempts,
            backoff_s=work.backoff_s,
            patience_s=work.patience_s,
            delivery_attempts=webhook.attempts,
            delivery_backoff_s=webhook.backoff_s,
            public_base_url=(self.settings.web.public_base_url or "").rstrip("/"),
        )

    @cached_property
    def store(self) -> ports.ObjectStore:
        """The local folder or the bucket."""
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
            )
        )

    @cached_property
    def ledger(self) -> ports.Ledger:
        """SQLite or PostgreSQL."""
        from fractureai.metrics.ledger import MeteredLedger
        from fractureai.storage.ledger.sql import SqlLedger

        ledger = SqlLedger.open(self.settings.ledger_url, outbox=bool(self.settings.webhook.url))
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
        app = create_app(QueueSettings(queue.url, queue.prefix, queue.task_time_limit_s, queue.visibility_timeout_s))
        register_tasks(app, lambda: self)
        carry_request_ids()
        return app

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

        limits = self.settings.decode
        return ChildDecoder(
            DecodeLimits(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, timeout_s=limits.timeout_s)
        )

    @cached_property
    def archives(self) -> ports.ArchiveReader:
        """ZIP files."""
        from fractureai.imaging.archive import ZipArchiveReader

        return ZipArchiveReader()

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
    def report_writer(self) -> ports.ReportWriter:
        """Reportlab."""
        from fractureai.reports.pdf import PdfReportWriter

        return PdfReportWriter()

    def web(self) -> Flask:
        """The web application."""
        from fractureai.web.app import WebPorts, WebSettings, create_app
        from fractureai.web.observing import Observing

        chosen = self.settings.web
        return create_app(
            WebPorts(self.store, self.ledger, self.queue, self.models, self.clock, self.new_id, self.policy),
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
            ),
            Observing(self.meters.instruments, self.registry, self.settings.metrics.allow),
        )

    def _web_secret(self) -> bytes:
        """The key that signs uploads: the same in every web process and after a restart."""
        file = self.settings.web.secret_key_file or self.settings.data_dir / "web.secret"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(f".{uuid.uuid4().hex}")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):  # another process was first: its key counts
                os.link(fresh, file)
            fresh.unlink()
        return _secret_in(file)

    def rebuild(self) -> dict[str, int]:
        """Bring into the ledger what only the store knows; returns how many rows of each kind were made."""
        from fractureai.storage.ledger.sql import SqlLedger
        from fractureai.storage.rebuild import rebuild

        ledger = SqlLedger.open(self.settings.ledger_url)
        try:
            return asdict(rebuild(self.store, ledger, now_s=self.clock()))
        finally:
            ledger.close()

    def warm(self, role: str) -> None:
        """Load what a worker of this role needs before its first task."""
        if role == "inference":
            warm_up = getattr(self.models, "warm", None)
            if warm_up:
                warm_up()


def _secret_in(file: Path) -> bytes:
    try:
        secret = file.read_bytes()
    except OSError as error:
        raise BrokenDeployment(f"{file} cannot be read: {error.strerror}") from error
    if len(secret) < 32:
        raise BrokenDeployment(f"{file} must hold at least 32 random bytes")
    return secret


def _loopback_names(host: str) -> tuple[str, ...]:
    """What a request may call a service that listens on loopback; none, meaning any, for one that does not."""
    if host not in LOOPBACK_HOSTS:
        return ()
    return tuple(sorted(f"[{name}]" if ":" in name else name for name in LOOPBACK_HOSTS))
