"""What a stage is handed: the ports, and the rules of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fractureai.domain import ports


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """How long work may take and how often it is tried.

    Attributes
    ----------
    lease_s:
        How long a worker holds a stage. Longer than the hard time limit of a task, so that two never work on a stage
        by design; short enough that a dead worker's study is soon taken up again.
    max_attempts:
        Attempts a stage may begin before the study is given up as ``failed``.
    backoff_s:
        Wait before the second attempt after a transient failure; doubled for every further one.
    patience_s:
        How long a published study may stay untouched, while the queue has work, before it is published again.
    delivery_attempts, delivery_backoff_s:
        Attempts at telling somebody of a finished study, and the wait after the first; doubled for every further one.
    public_base_url:
        Scheme, host and port that links in messages begin with.
    """

    lease_s: float = 240.0
    max_attempts: int = 3
    backoff_s: float = 10.0
    patience_s: float = 900.0
    delivery_attempts: int = 10
    delivery_backoff_s: float = 30.0
    public_base_url: str = ""


class StagePorts(Protocol):
    """Everything a stage may reach. Built lazily by ``fractureai.bootstrap``: a stage pays only for what it uses."""

    @property
    def store(self) -> ports.ObjectStore: ...
    @property
    def ledger(self) -> ports.Ledger: ...
    @property
    def queue(self) -> ports.Queue: ...
    @property
    def decoder(self) -> ports.Decoder: ...
    @property
    def archives(self) -> ports.ArchiveReader: ...
    @property
    def codec(self) -> ports.ImageCodec: ...
    @property
    def models(self) -> ports.Models: ...
    @property
    def notifier(self) -> ports.Notifier: ...
    @property
    def report_writer(self) -> ports.ReportWriter: ...
    @property
    def dicom_writer(self) -> ports.DicomResultWriter | None: ...
    @property
    def clock(self) -> Callable[[], float]: ...
    @property
    def new_id(self) -> Callable[[], str]: ...
    @property
    def policy(self) -> WorkPolicy: ...
    @property
    def software_version(self) -> str: ...
