"""Kombu's Redis transport, for lists that others can write into too.

Kombu 5.7 ends the worker when a list holds what it cannot read: one `LPUSH` of anything would stop every worker in
turn. Here such an item is logged, without its content, and dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu import transport as transports
from kombu.transport import redis as kombu_redis
from redis.exceptions import ResponseError

_LOG = logging.getLogger(__name__)

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Channel(kombu_redis.Channel):
    """Drops what is no message."""

    def basic_consume(self, queue: str, no_ack: bool, callback: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Hand messages on; what even Celery cannot take is given back as done, or it would count as held for ever."""

        def careful(message: Any) -> Any:
            try:
                return callback(message)
            except _UNREADABLE as error:
                _LOG.error("a message is none of ours and is dropped (%s)", type(error).__name__)
                return message.reject()

        return super().basic_consume(queue, no_ack, careful, *args, **named)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except _UNREADABLE as error:
            _LOG.error("something in the queue is no message of ours and is dropped (%s)", type(error).__name__)
        except ResponseError as error:
            # A key of ours is no list: the scheduler removes it.
            _LOG.error("a list of the queue cannot be read: %s", str(error).split(" ", 1)[0])
        raise Empty

    def restore_visible(self, *args: Any, **named: Any) -> Any:
        """Bring back what dead workers held; what cannot be read there stays there."""
        try:
            return super().restore_visible(*args, **named)
        except _UNREADABLE as error:
            _LOG.error("an unacknowledged item is no message of ours (%s)", type(error).__name__)
            return None


class Transport(kombu_redis.Transport):
    """Kombu's, with the channel above."""

    Channel = Channel


def read_carefully() -> None:
    """From here on, ``redis://``, ``rediss://`` and ``redis+socket://`` mean the transport above in this process.

    By its name, because kombu takes the transport of a ``redis+socket`` address from the address alone.
    """
    for scheme in ("redis", "rediss"):
        transports.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
        transports._transport_cache.pop(scheme, None)
