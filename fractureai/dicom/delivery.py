"""The ``ResultSender`` over the peers file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fractureai.dicom import associations
from fractureai.dicom.peers import Destination, Peers
from fractureai.dicom.stow import StowClient
from fractureai.domain.dicom_objects import DicomKind
from fractureai.domain.ports import OutgoingObject
from fractureai.domain.records import DeliveredObject
from fractureai.errors import TransientFailure

_REST_S = 15.0


class PeerSender:
    """Sends to the destinations of the peers file.

    One that cannot be reached is left alone for a while: the worker that delivers has other work, and every waiting
    delivery would otherwise cost it a time-out.

    Parameters
    ----------
    ae_title:
        What we call ourselves, unless the destination has a name for us.
    """

    def __init__(self, peers: Peers, ae_title: str, *, clock: Callable[[], float] = time.time) -> None:
        self._peers = peers
        self._ae_title = ae_title
        self._clock = clock
        self._rest_until_s: dict[str, float] = {}

    def wanted(self, destination: str) -> frozenset[DicomKind]:
        """Which kinds of object it is to have."""
        return frozenset(self._peers.named(destination).send)

    def send(self, destination: str, objects: Sequence[OutgoingObject]) -> list[DeliveredObject]:
        """Send them, by what the destination speaks."""
        chosen = self._peers.named(destination)
        if self._clock() < self._rest_until_s.get(destination, 0.0):
            raise TransientFailure("receiver_unavailable", "could not be reached a moment ago")
        try:
            return self._send(chosen, objects)
        except TransientFailure:
            self._rest_until_s[destination] = self._clock() + _REST_S
            raise

    def echo(self, destination: str) -> None:
        """Whether it answers. Raises ``TransientFailure`` if not."""
        chosen = self._peers.named(destination)
        if chosen.kind == "dimse":
            associations.echo(chosen, self._ae_title)
            return
        client = StowClient(chosen)
        try:
            client.echo()
        finally:
            client.close()

    def _send(self, chosen: Destination, objects: Sequence[OutgoingObject]) -> list[DeliveredObject]:
        if chosen.kind == "dimse":
            return associations.store(chosen, self._ae_title, objects)
        client = StowClient(chosen)
        try:
            return client.store(objects)
        finally:
            client.close()
