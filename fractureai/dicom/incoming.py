"""A data set on its way from an association into the store, fragment by fragment.

pynetdicom collects a whole message before anybody sees it, in memory or in an unbounded temporary file. Here each
fragment goes on to the store as it comes, so that an instance costs its sender's PDU, whatever its size.
"""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any, cast

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from fractureai.dicom.headers import Head
from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.ports import Sink
from fractureai.errors import TransientFailure

_LOG = logging.getLogger(__name__)

_MAX_COMMAND_BYTES = 1 << 16
_MAX_WAITING = 8
# So many times its limit an instance is read on to be told that it is too large; who sends more never comes to an end.
_PATIENCE = 4
_END = "Evt19"  # what pynetdicom calls a PDU that makes no sense: the association is aborted


class IncomingDataset(BytesIO):
    """Takes fragments for a sink and keeps the first of them. What cannot be stored is read on and thrown away, for
    the sender must be told in the answer to the whole message.

    Attributes
    ----------
    head:
        Tells where the data set belongs.
    failure:
        Why the store did not take it.
    too_large:
        Whether it is more than the limit.
    """

    def __init__(self, sink: Sink, before: bytes, limit_bytes: int, head: Head[InstanceIdentity]) -> None:
        super().__init__()
        self.sink = sink
        self.head = head
        self.size_bytes = 0
        self.failure: TransientFailure | None = None
        self._limit_bytes = limit_bytes
        self._store(before)

    @property
    def too_large(self) -> bool:
        return self.size_bytes > self._limit_bytes

    def write(self, data: Any, /) -> int:
        """Pass a fragment on. Raises ``ValueError`` if there is no end to them."""
        self.size_bytes += len(data)
        if self.size_bytes > _PATIENCE * self._limit_bytes:
            raise ValueError("the data set has no end")
        self.head.write(bytes(data))
        if self.too_large:
            self.sink.abort()
        else:
            self._store(data)
        return len(data)

    def _store(self, data: bytes) -> None:
        if self.failure is not None:
            return
        try:
            self.sink.write(data)
        except TransientFailure as failure:
            self.failure = failure
            self.sink.abort()

    def __del__(self) -> None:
        # A whole one that waited to be served when its association ended; after a commit this does nothing.
        if sink := getattr(self, "sink", None):
            sink.abort()


class Nothing(BytesIO):
    """Swallows data sets that nobody asked for."""

    def write(self, data: Any, /) -> int:
        return len(data)


class StreamingProvider(DIMSEServiceProvider):
    """pynetdicom's message layer, with data sets that go to the store, and with bounds."""

    def __init__(self, assoc: Any, opened: Any) -> None:
        super().__init__(assoc)
        self._opened = opened

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one PDU's values one by one, so that a command is known before the first byte of its data set."""
        try:
            makes_sense = all(self._received(list(value)) for value in primitive.presentation_data_value_list)
        except Exception:  # a command that cannot be parsed would end the thread and leave the connection open
            _LOG.warning("a message makes no sense; its association is aborted")
            makes_sense = False
        if not makes_sense:
            self.dul.event_queue.put(_END)

    def discard(self) -> None:
        """Drop the data set whose rest will not come. From the thread that receives, so it is nobody else's yet."""
        incoming = self.message.data_set if self.message else None
        if isinstance(incoming, IncomingDataset):
            incoming.sink.abort()

    def _received(self, value: list[Any]) -> bool:
        if self.msg_queue.qsize() >= _MAX_WAITING:
            return False
        single = P_DATA()
        single.presentation_data_value_list = [value]
        super().receive_primitive(single)
        return self.message is None or self._prepared(self.message)

    def _prepared(self, message: DIMSEMessage) -> bool:
        if message.encoded_command_set.tell() > _MAX_COMMAND_BYTES:
            return False
        if type(message.data_set) is not BytesIO:
            return True
        if type(message) is DIMSEMessage:
            return message.data_set.tell() == 0  # a data set before its command belongs to nothing
        incoming = self._opened(self.assoc, message) if isinstance(message, C_STORE_RQ) else Nothing()
        if incoming is None:
            return False
        message.data_set = cast(BytesIO, incoming)
        return True
