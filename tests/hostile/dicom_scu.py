"""A listener over a real store and ledger, and a sender that sends what it is given: also what is no data set."""

from __future__ import annotations

import contextlib
import re
import struct
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.uid import ComputedRadiographyImageStorage, generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from fractureai.dicom.listener import Listener, ListenerSettings
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
SUCCESS = "0000"
NO_CONTEXT = "no context"
"""What it is an instance of, or how it is encoded, was not agreed on: nothing could be sent."""
NOTHING_TO_SEND = "no data set"


@dataclass(frozen=True)
class Post:
    """A listener's port, and what it writes to."""

    port: int
    store: LocalStore
    ledger: SqlLedger


@dataclass
class _Ports:
    store: Any
    ledger: Any
    queue: Any = None
    policy: Any = None


@contextlib.contextmanager
def listening(folder: Path, **settings: Any) -> Iterator[Post]:
    """A listener in this process."""
    store = LocalStore(folder / "store", durable=False)
    ledger = SqlLedger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
    made = Listener(ListenerSettings(port=0, **settings), _Ports(store, ledger), time.time, lambda: uuid.uuid4().hex)
    try:
        yield Post(made.port, store, ledger)
    finally:
        made.close()
        ledger.close()


def echo(port: int, ae_title: str = "HONEST") -> int | None:
    """The status of a C-ECHO; ``None``: no answer."""
    entity = AE(ae_title)
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", port)
    if not association.is_established:
        return None
    status = association.send_c_echo()
    association.release()
    return getattr(status, "Status", None)


@dataclass(frozen=True)
class Instance:
    """A file as C-STORE sends it: its data set's bytes as they are, and what a sender says of them."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    syntax: str
    dataset: bytes


def instance_of(data: bytes) -> Instance:
    """Take a file apart without believing it; what cannot be found is made up."""
    syntax, dataset = _taken_apart(data)
    readable = dataset
    if syntax == DEFLATED:
        with contextlib.suppress(zlib.error):
            readable = zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset, 1 << 16)
    sop_class = _uid(readable, 0x00080016) or ComputedRadiographyImageStorage
    sop_instance = _uid(readable, 0x00080018) or generate_uid()
    return Instance(sop_class, sop_instance, _uid(readable, 0x0020000D), syntax, dataset)


def _taken_apart(data: bytes) -> tuple[str, bytes]:
    if data[128:132] != b"DICM":
        return EXPLICIT, data
    at, syntax = 132, EXPLICIT
    while data[at : at + 2] == b"\x02\0" and at + 8 <= len(data):
        element, vr, length = struct.unpack_from("<H2sH", data, at + 2)
        if vr == b"OB":
            (length,) = struct.unpack_from("<L", data, at + 8)
            at += 4
        if element == 0x0010:
            syntax = data[at + 8 : at + 8 + length].decode("latin-1").strip(" \0")
        at += 8 + length
    return syntax, data[at:]


def _uid(dataset: bytes, tag: int) -> str:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"UI"
    at = dataset.find(head)
    if at < 0 or at + 8 > len(dataset):
        return ""
    (length,) = struct.unpack_from("<H", dataset, at + 6)
    text = dataset[at + 8 : at + 8 + length].decode("latin-1").strip(" \0")
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else ""


def stored(port: int, files: Mapping[str, bytes], ae_title: str = "HOSTILE") -> dict[str, str]:
    """Send files over one association; the status of each as four hexadecimal digits, or :data:`NO_CONTEXT`."""
    instances = {name: instance_of(data) for name, data in files.items()}
    entity = AE(ae_title)
    wanted = dict.fromkeys((each.sop_class_uid, each.syntax) for each in instances.values())
    entity.requested_contexts = [build_context(*pair) for pair in wanted]
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    try:
        return {name: _stored(association, each) for name, each in instances.items()}
    finally:
        association.release()


def _stored(association: Any, instance: Instance) -> str:
    agreed = {
        (context.abstract_syntax, context.transfer_syntax[0]): context.context_id
        for context in association.accepted_contexts
    }
    number = agreed.get((instance.sop_class_uid, instance.syntax))
    if number is None:
        return NO_CONTEXT
    if not instance.dataset:
        return NOTHING_TO_SEND
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = instance.sop_class_uid
    request.AffectedSOPInstanceUID = instance.sop_instance_uid
    request.DataSet = BytesIO(instance.dataset)
    # pynetdicom's own sending would decode and encode the data set.
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, number)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return f"{answer.Status:04X}" if answer else "no answer"
