"""What a stage is handed: the ports, and the rules of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fractureai.domain import ports
from fractureai.domain.examinations import Quiet
from fractureai.domain.records import Channel


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """How long work may take and how often it is tried.

    Attributes
    ----------
    lease_s:
        How long a worker holds a stage or a delivery without renewing; it renews every third of it while it lives, so
        that what a dead worker held is soon taken up again.
    max_attempts:
        Attempts a stage may begin before the study is given up as ``failed``.
    backoff_s, longest_wait_s:
        Wait before the second attempt after a failure; doubled for every further one, up to the longest.
    outage_s:
        How long store or ledger may be away before what waits for them is given up as ``failed``.
    insist_s:
        How long a worker that has its work in hand waits for a ledger that is away.
    longest_s, longest_intake_s:
        How long a stage or a delivery, and the unpacking of a batch, may take at all; then their lease is not renewed
        any more.
    patience_s:
        How long a published study may stay untouched, whatever the queue looks like, before it is published again.
    walk_in_studies:
        A batch of so many studies at most goes before bulk.
    portion:
        How many messages of bulk wait in the queue at most: enough for all workers until the next round.
    delivery_attempts, delivery_backoff_s:
        Attempts at telling somebody of a finished study, and the wait after the first; doubled for every further one.
    results_attempts, results_backoff_s:
        The same for sending results to DICOM peers.
    public_base_url:
        Scheme, host and port that links in messages begin with.
    quiet:
        When an examination that comes in image by image is complete.
    revise_within_s:
        How long after its last image a further one revises it; later ones are a study of their own.
    """

    lease_s: float = 30.0
    max_attempts: int = 3
    backoff_s: float = 10.0
    longest_wait_s: float = 120.0
    outage_s: float = 24 * 3600.0
    insist_s: float = 60.0
    longest_s: float = 180.0
    longest_intake_s: float = 3600.0
    patience_s: float = 900.0
    walk_in_studies: int = 10
    portion: int = 500
    delivery_attempts: int = 10
    delivery_backoff_s: float = 30.0
    results_attempts: int = 20
    results_backoff_s: float = 30.0
    public_base_url: str = ""
    quiet: Quiet = field(default_factory=Quiet)
    revise_within_s: float = 24 * 3600.0

    def attempts_on(self, channel: Channel) -> int:
        """How often a delivery is tried."""
        return self.delivery_attempts if channel is Channel.WEBHOOK else self.results_attempts

    def backoff_on(self, channel: Channel) -> float:
        """The wait after its first attempt."""
        return self.delivery_backoff_s if channel is Channel.WEBHOOK else self.results_backoff_s


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
    def sender(self) -> ports.ResultSender: ...
    @property
    def fhir(self) -> ports.FhirWriter: ...
    @property
    def fhir_sender(self) -> ports.FhirSender: ...
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
