"""The news of finished studies by HTTP: one signed POST each.

The signature is HMAC-SHA256 over the timestamp, a dot and the body, so that neither can be changed and an old message
is seen to be old. No redirect is followed: only the configured address ever gets the news.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import httpx

from fractureai.errors import TransientFailure

ID_HEADER = "FractureAI-Delivery"
TIMESTAMP_HEADER = "FractureAI-Timestamp"
SIGNATURE_HEADER = "FractureAI-Signature"

_REST_S = 15.0


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """What goes into the signature's header: ``v1=`` and 64 hex digits."""
    return "v1=" + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


class HttpNotifier:
    """The ``Notifier`` that posts to one address.

    A receiver that cannot be reached is left alone for a while: the worker that delivers has other work, and every
    waiting delivery would otherwise cost it a time-out.

    Parameters
    ----------
    url:
        ``https``, or ``http`` to this machine; the settings see to it.
    secret:
        Shared with the receiver.
    """

    def __init__(
        self, url: str, secret: bytes, *, timeout_s: float = 5.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock
        self._rest_until_s = 0.0
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False)

    def notify(self, delivery_id: str, body: bytes) -> None:
        """Post it. Raises ``TransientFailure('receiver_unavailable')`` unless the answer is 2xx."""
        if self._clock() < self._rest_until_s:
            raise TransientFailure("receiver_unavailable", "could not be reached a moment ago")
        timestamp = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "FractureAI",
            ID_HEADER: delivery_id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: sign(self._secret, timestamp, body),
        }
        try:
            # Of the answer only its status counts; a body without end is not read.
            with self._http.stream("POST", self._url, content=body, headers=headers) as answer:
                status = answer.status_code
        except httpx.HTTPError as error:
            self._rest_until_s = self._clock() + _REST_S
            raise TransientFailure("receiver_unavailable", type(error).__name__) from error
        if not 200 <= status < 300:
            raise TransientFailure("receiver_unavailable", f"HTTP {status}")
