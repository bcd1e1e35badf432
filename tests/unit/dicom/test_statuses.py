"""The status of each C-STORE, by PS3.4 table B.2-1 and PS3.7 annex C; and that an instance's trouble is its own."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from fractureai.domain.audit import AuditEvent
from fractureai.errors import TransientFailure
from tests.unit.dicom.conftest import Post, radiograph, statuses


@dataclass
class Asking:
    """An association over which requests go that no library would send."""

    association: Any
    message_id: int = 1

    def store(
        self,
        dataset: Dataset,
        *,
        sop_class: str = "",
        sop_instance: str = "",
        encoded: bytes | None = None,
        with_data: bool = True,
    ) -> tuple[int, str]:
        """Send it, with another class, instance or content if given; status and comment of the answer."""
        request = C_STORE()
        request.MessageID = self.message_id = self.message_id + 1
        request.AffectedSOPClassUID = sop_class or dataset.SOPClassUID
        request.AffectedSOPInstanceUID = sop_instance or dataset.SOPInstanceUID
        request.Priority = 2
        if with_data:
            data = encode(dataset, is_implicit_vr=False, is_little_endian=True)
            request.DataSet = BytesIO(data if encoded is None else encoded)
        (context,) = [one for one in self.association.accepted_contexts if one.abstract_syntax == dataset.SOPClassUID]
        self.association._reactor_checkpoint.clear()
        self.association.dimse.send_msg(request, context.context_id)
        _, answer = self.association.dimse.get_msg(block=True)
        self.association._reactor_checkpoint.set()
        assert answer.MessageIDBeingRespondedTo == self.message_id
        return int(answer.Status), str(answer.ErrorComment or "")


@pytest.fixture
def asking(post: Post) -> Iterator[Asking]:
    entity = AE("XRAY1")
    for sop_class in (radiograph().SOPClassUID, DigitalXRayImageStorageForPresentation):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", post.port)
    assert association.is_established
    yield Asking(association)
    association.release()


def without(keyword: str) -> Dataset:
    dataset = radiograph()
    delattr(dataset, keyword)
    return dataset


def with_study(uid: str) -> Dataset:
    dataset = radiograph()
    dataset["StudyInstanceUID"]._value = uid
    return dataset


def changed(asking: Asking, **changes: Any) -> tuple[int, str]:
    return asking.store(radiograph(), **changes)


def _of_another_class(asking: Asking) -> tuple[int, str]:
    inside = radiograph(sop_class=SecondaryCaptureImageStorage)
    data = encode(inside, is_implicit_vr=False, is_little_endian=True)
    return changed(asking, encoded=data, sop_instance=inside.SOPInstanceUID)


CASES: dict[str, tuple[int, Callable[[Asking], tuple[int, str]]]] = {
    "a class nobody agreed on": (0x0122, lambda asking: changed(asking, sop_class=CTImageStorage)),
    "the class of another context": (
        0x0122,
        lambda asking: changed(asking, sop_class=DigitalXRayImageStorageForPresentation),
    ),
    "another class inside": (0xA900, _of_another_class),
    "another instance inside": (0xA900, lambda asking: changed(asking, sop_instance=generate_uid())),
    "no data set": (0xC000, lambda asking: changed(asking, with_data=False)),
    "bytes that are none": (0xC000, lambda asking: changed(asking, encoded=b"no data set at all" * 40)),
    "cut short": (0xC000, lambda asking: changed(asking, encoded=b"\x08\x00\x16\x00UI\x1a\x001.2")),
    "no study": (0xC000, lambda asking: asking.store(without("StudyInstanceUID"))),
    "an empty study": (0xC000, lambda asking: asking.store(with_study(""))),
    "no UID as the study": (0xC000, lambda asking: asking.store(with_study("../../etc"))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*UI:UserWarning")
def test_what_is_at_fault_is_said_and_costs_the_next_nothing(post: Post, asking: Asking, name: str) -> None:
    expected, send = CASES[name]
    status, comment = send(asking)
    assert status == expected
    assert 0 < len(comment) <= 64
    assert post.arrivals() == []
    assert asking.store(radiograph()) == (0x0000, "")
    assert post.images() == [("local", 1)]
    assert len(post.arrivals()) == 1


class Full:
    """A file on a disk that fills up."""

    def __init__(self, stream: Any, at: str) -> None:
        self._stream, self._at = stream, at

    def __getattr__(self, name: str) -> Any:
        if name == self._at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return getattr(self._stream, name)


@pytest.mark.parametrize("at", ["write", "flush"])
def test_a_full_disk_is_no_resources_until_there_is_room(
    post: Post, asking: Asking, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = post.store.sink

    def filling(key: str) -> Any:
        made = sink(key)
        made._stream = Full(made._stream, at)
        return made

    dataset = radiograph(side_px=300)
    with monkeypatch.context() as patch:
        patch.setattr(post.store, "sink", filling)
        assert asking.store(dataset)[0] == 0xA700
    assert post.arrivals() == []
    assert asking.store(dataset) == (0x0000, "")
    assert post.images() == [("local", 1)]


def test_an_error_nobody_thought_of_is_a_processing_failure(
    post: Post, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody thought of it")

    dataset = radiograph()
    with monkeypatch.context() as patch:
        patch.setattr(post.ledger, "instance_arrived", fail)
        assert asking.store(dataset) == (0x0110, "unexpected error")
    assert post.images() == []
    assert asking.store(dataset) == (0x0000, "")
    assert post.images() == [("local", 1)]


def test_nobody_is_told_of_success_without_a_line_in_the_audit(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept by then is what the sender's second try finds there."""

    def away(_event: AuditEvent, *, durable: bool) -> None:
        raise TransientFailure("ledger_unavailable", f"durable: {durable}")

    dataset = radiograph()
    with monkeypatch.context() as patch:
        patch.setattr(post.ledger, "note", away)
        assert statuses(post.port, [dataset]) == [0xA700]
    assert statuses(post.port, [dataset]) == [0]
    assert len(post.arrivals()) == 1
    assert post.images() == [("local", 1)]
