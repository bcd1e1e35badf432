"""What the stages need of the world, as protocols. Adapters implement them; contract tests hold every one to this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from fractureai.domain.card import ModelCard
from fractureai.domain.contents import Content, FoundContent
from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.ledger import Ledger as Ledger
from fractureai.domain.radiograph import Header, Radiograph
from fractureai.domain.reasons import Reason
from fractureai.domain.records import DeliveredObject, Priority, StudyRow
from fractureai.domain.result import ImageResult, StudyResult
from fractureai.domain.scores import FractureReading, ModelIdentity, NetworkReading, RegionReading
from fractureai.domain.study import Stage, Study


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a finished write reports."""

    key: str
    size_bytes: int
    sha256: str


class Sink(Protocol):
    """A write in progress. Nothing is visible under the key before :meth:`commit`; hashing happens on the way."""

    def write(self, chunk: bytes, /) -> int:
        """Append; returns ``len(chunk)``. Raises ``TransientFailure`` if the store is away or full."""

    def commit(self) -> StoredObject:
        """Make the object visible and durable, whole."""

    def abort(self) -> None:
        """Forget it; safe to call at any time, also after :meth:`commit` (then it does nothing)."""


class ObjectStore(Protocol):
    """Bytes under keys (``fractureai.domain.keys``). Every method raises ``TransientFailure('store_unavailable')`` when
    the store is away; writing the same key again replaces the object, atomically.
    """

    def sink(self, key: str) -> Sink:
        """Begin a streamed write."""

    def put(self, key: str, data: bytes) -> StoredObject:
        """Write a small object whole."""

    def get(self, key: str) -> bytes:
        """Read a small object whole. Raises ``KeyError`` if there is none."""

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Read as a stream. Raises ``KeyError`` if there is none."""

    def size_bytes(self, key: str) -> int | None:
        """The object's size; ``None`` if there is none."""

    def as_file(self, key: str) -> AbstractContextManager[Path]:
        """A path another process can read while the context is open. Raises ``KeyError`` if there is none."""

    def copy(self, source: str, target: str) -> None:
        """The same bytes under another key too, without their passing through us. Raises ``KeyError`` if there is no
        ``source``.
        """

    def delete(self, key: str) -> None:
        """Remove it; nothing happens if there is none."""

    def address(self, key: str, *, valid_s: int, file_name: str, media_type: str) -> str | None:
        """Where whoever holds the address can fetch this one object for a while, past us; ``None`` if the store has no
        such addresses. Does not say whether there is such an object.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, in no order. For repair only, never on the way of the work."""


class Decoder(Protocol):
    """Pixels out of untrusted files."""

    def decode(self, path: Path) -> Radiograph:
        """Read one radiograph, by content, never by name. Raises ``RejectedInput`` with the reason."""

    def identify(self, path: Path) -> InstanceIdentity | None:
        """Which instance a DICOM file claims to be, of which DICOM study; ``None`` for anything else. Cheap."""

    def close(self) -> None:
        """End the decoding child."""


class InstanceHead(Protocol):
    """The beginning of a DICOM file on its way; of the rest nothing is kept."""

    def write(self, chunk: bytes, /) -> None:
        """Take a chunk."""

    def identify(self) -> InstanceIdentity:
        """Raises ``RejectedInput`` if it is no such file, or does not say where it belongs."""


class InstanceReader(Protocol):
    """Tells which instance a DICOM file is by as few of its first bytes as that takes."""

    def head(self) -> InstanceHead:
        """For one file."""

    def takes(self, sop_class_uid: str) -> bool:
        """Whether objects of this class are radiographs."""


class PseudonymBook(Protocol):
    """Which pseudonym stands for what; kept by the site, if at all."""

    def note(self, site: str, kind: str, original: str, pseudonym: str) -> None:
        """Write one down. Raises ``TransientFailure`` if that cannot be done."""


class Deidentifier(Protocol):
    """Rids files of what says whose they are."""

    def rewrite(self, path: Path, site: str, write: Callable[[bytes], object]) -> None:
        """Write the file without it. Raises ``RejectedInput`` if that cannot be done; then nothing was written."""

    def file_name(self, site: str, name: str) -> str:
        """A name that says nothing, with its folders and its kind."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive: its name for people, how to read it, and what it holds."""

    name: str
    number: int
    content: Content = Content.UNKNOWN


class ArchiveReader(Protocol):
    """Members out of an untrusted ZIP."""

    def is_archive(self, path: Path) -> bool:
        """By content."""

    def content_of(self, path: Path, name: str) -> FoundContent:
        """What a file that came with others is, by its first bytes and its name."""

    def members(self, path: Path) -> tuple[list[Member], list[tuple[str, Reason]]]:
        """What to read, in order, and what is left out and why. Raises ``RejectedInput``."""

    def extract(self, path: Path, member: Member, sink: Sink) -> None:
        """Stream one member, within the limits. Raises ``RejectedInput``."""


class ImageCodec(Protocol):
    """Our own small images: artifacts between the stages and pictures for people."""

    def encode_grey(self, pixels: npt.NDArray[np.uint8]) -> bytes:
        """``(H, W)`` uint8 to PNG, fast rather than small."""

    def decode_grey(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Back to ``(H, W)`` uint8."""

    def heat(self, attention: npt.NDArray[np.float32]) -> bytes:
        """``(H, W)`` float32 in 0..1 to a transparent PNG in a colour map that is safe for the colour-blind."""

    def overlay(self, pixels: npt.NDArray[np.uint8], attention: npt.NDArray[np.float32]) -> bytes:
        """Image and heat map in one JPEG."""


class RegionModel(Protocol):
    """Tells the region of an image, and whether it is a limb radiograph at all."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def identity(self) -> ModelIdentity: ...

    def read(self, image: npt.NDArray[np.uint8]) -> NetworkReading:
        """Run the model's network on an image ``(H, W)`` uint8, bones bright, of any size."""

    def interpret(self, reading: NetworkReading) -> RegionReading:
        """What a reading of this model's network, features included, says of the region."""


class FractureModel(Protocol):
    """Tells how likely an image of its region shows a fracture, and where."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def network(self) -> str:
        """Hash of the card of the network it reads with: a reading of the same network need not be made twice."""

    def read(self, image: npt.NDArray[np.uint8]) -> NetworkReading:
        """Run the model's network on an image ``(H, W)`` uint8, bones bright, of any size."""

    def interpret(self, reading: NetworkReading) -> FractureReading:
        """What a reading of this model's network says of a fracture."""


class Models(Protocol):
    """The models at hand, loaded on first use."""

    def region(self) -> RegionModel:
        """The region classifier. Raises ``BrokenDeployment`` if it is missing or its hash is wrong."""

    def fracture(self, region: str) -> FractureModel | None:
        """The model of a region; ``None`` if there is none."""

    def cards(self) -> list[tuple[ModelCard, ModelIdentity]]:
        """Every card, without loading weights."""

    def check(self) -> None:
        """Check that a region model is there and every serving file is what its card says; loads nothing.

        Raises ``BrokenDeployment``.
        """


@dataclass(frozen=True, slots=True, eq=False)
class ReportImage:
    """The pictures of one view for the report; ``None`` where the file could not be read or was not assessed."""

    result: ImageResult
    header: Header | None
    image_png: bytes | None
    overlay_jpg: bytes | None
    roi_png: bytes | None
    dicom_context: bytes = b""


@dataclass(frozen=True, slots=True)
class FhirAttachment:
    """The report's PDF in a FHIR resource: its bytes, or where to fetch it."""

    data: bytes | None = None
    url: str = ""


class FhirWriter(Protocol):
    """The result for systems that speak FHIR R4."""

    def report(
        self, row: StudyRow, result: StudyResult, headers: Mapping[int, Header], pdf: FhirAttachment | None
    ) -> dict[str, Any]:
        """A ``DiagnosticReport``, as JSON has it; ``headers`` by image number, of the files that are DICOM."""


class FhirSender(Protocol):
    """A FHIR server that has the results too."""

    @property
    def attach(self) -> str:
        """How the PDF goes with them: ``data``, ``url`` or ``none``."""

    def put(self, resource: dict[str, Any]) -> None:
        """Make it, or replace it.

        Raises
        ------
        TransientFailure
            ``receiver_unavailable``: it was not taken this time.
        RejectedInput
            ``receiver_refused``: it never will be.
        """


class ReportWriter(Protocol):
    """The report for people."""

    def write(self, study: Study, result: StudyResult, images: Sequence[ReportImage]) -> bytes:
        """PDF bytes; the same for the same input."""


@dataclass(frozen=True, slots=True)
class QueueDepths:
    """Messages on their way: those that wait, by queue, and those that are with workers."""

    waiting: dict[str, int]
    unacknowledged: int


class DicomResultWriter(Protocol):
    """The results as DICOM objects in the source's study."""

    def write(
        self, study: Study, result: StudyResult, images: Sequence[ReportImage], report_pdf: bytes
    ) -> list[tuple[DicomObject, bytes]] | Reason:
        """Every object with its bytes, the same for the same input; or why there are none."""


@dataclass(frozen=True, slots=True)
class QueueLine:
    """What waits in the queue. Each list is first in, first out.

    Attributes
    ----------
    waiting:
        Messages of the stages, over all lists.
    batches:
        Messages of the intake.
    sent_s:
        When the message that is next in line was sent, for each list that is not empty; ``-inf`` if that is unknown.
        Whatever was sent before it has been taken.
    """

    waiting: int = 0
    batches: int = 0
    sent_s: Mapping[tuple[Stage, Priority], float] = field(default_factory=dict)


class Queue(Protocol):
    """Ids on their way to workers. May lose everything at any moment; the ledger remembers."""

    def publish_study(self, study_id: str, stage: Stage, priority: Priority = Priority.WALK_IN) -> None:
        """Queue the chain from ``stage`` on, ahead of all bulk if it is a walk-in. Raises
        ``TransientFailure('queue_unavailable')``: then it is unknown whether it was sent.
        """

    def publish_batch(self, batch_id: str, priority: Priority = Priority.WALK_IN) -> None:
        """Queue the unpacking of a batch."""

    def publish_delivery(self, delivery_id: str) -> None:
        """Queue the news of a finished study."""

    def line(self) -> QueueLine:
        """What waits to be taken by a worker."""

    def depths(self) -> QueueDepths:
        """How much is waiting and with workers, deliveries too."""


class Notifier(Protocol):
    """Whoever wants to be called when a study is final."""

    def notify(self, delivery_id: str, body: bytes) -> None:
        """Hand over the news. Raises ``TransientFailure('receiver_unavailable')`` unless it was taken."""


@dataclass(frozen=True, slots=True)
class OutgoingObject:
    """A DICOM object to be sent, as a file; ``name`` as :attr:`fractureai.domain.dicom_objects.DicomObject.name`."""

    name: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    path: Path


class ResultSender(Protocol):
    """Sends results to DICOM peers, by their names."""

    def wanted(self, destination: str) -> frozenset[DicomKind]:
        """Which kinds of object it is to have. Raises ``BrokenDeployment`` if there is no such peer."""

    def send(self, destination: str, objects: Sequence[OutgoingObject]) -> list[DeliveredObject]:
        """Send them, and look whether they are there if the peer can be asked; one outcome each.

        Raises
        ------
        TransientFailure
            ``receiver_unavailable``: the peer is away, and nothing is known of any of them.
        BrokenDeployment
            If there is no such peer.
        """
