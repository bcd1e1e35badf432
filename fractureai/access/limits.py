"""How often somebody may come: budgets by key, by address and by account, shared by all web processes through Redis.

Redis may be away, and then every process counts for itself: as many times the budget passes as there are processes,
but never without a budget. Nothing here waits for Redis longer than a blink.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

_LOG = logging.getLogger(__name__)

_REDIS_TIMEOUT_S = 0.25
_REDIS_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Budgets:
    """Requests in a time, as ``limits`` writes them (``600/minute``).

    Attributes
    ----------
    key:
        Of one key or one person.
    address:
        Of one address that has not said who it is.
    refused:
        Refused keys and sign-ins of one address.
    account:
        Refused sign-ins of one account, from wherever.
    """

    key: str = "6000/minute"
    address: str = "600/minute"
    refused: str = "30/5minutes"
    account: str = "10/15minutes"


@dataclass
class Limiter:
    """Budgets, counted in Redis if there is one, else in this process."""

    budgets: Mapping[str, Sequence[RateLimitItem]]
    redis_url: str = ""
    prefix: str = "fractureai:"
    _away_until: float = 0.0
    _shared: SlidingWindowCounterRateLimiter | None = None
    _own: SlidingWindowCounterRateLimiter = field(
        default_factory=lambda: SlidingWindowCounterRateLimiter(MemoryStorage())
    )

    def over(self, budget: str, who: Sequence[str]) -> float | None:
        """Take one from the budget of each of ``who``; the seconds to wait if one is used up, else ``None``."""
        names = [_hidden(name) for name in who]
        counter = self._counter()
        try:
            return self._take(counter, budget, names)
        except Exception as error:  # whatever the storage's driver raises, the door must stay guarded
            if counter is self._own:
                raise
            _LOG.warning("rate limits are counted in this process for a while: %s", type(error).__name__)
            self._away_until = time.monotonic() + _REDIS_PAUSE_S
            return self._take(self._own, budget, names)

    def _take(self, counter: SlidingWindowCounterRateLimiter, budget: str, names: Sequence[str]) -> float | None:
        waits = [
            max(1.0, counter.get_window_stats(item, budget, name).reset_time - time.time())
            for item in self.budgets[budget]
            for name in names
            if not counter.hit(item, budget, name)
        ]
        return max(waits, default=None)

    def _counter(self) -> SlidingWindowCounterRateLimiter:
        if not self.redis_url or time.monotonic() < self._away_until:
            return self._own
        if self._shared is None:
            self._shared = SlidingWindowCounterRateLimiter(_redis(self.redis_url, self.prefix))
        return self._shared


def budgets_of(budgets: Budgets) -> dict[str, list[RateLimitItem]]:
    """Read the texts. Raises ``ValueError`` for what is no budget."""
    return {name: [parse(getattr(budgets, name))] for name in Budgets.__dataclass_fields__}


def _redis(url: str, prefix: str) -> Storage:
    # Celery and ``limits`` write the same thing differently.
    named = url.replace("redis+socket://", "redis+unix://", 1)
    timeouts = {"socket_timeout": _REDIS_TIMEOUT_S, "socket_connect_timeout": _REDIS_TIMEOUT_S}
    return storage_from_string(named, key_prefix=f"{prefix}limits", **timeouts)


def _hidden(name: str) -> str:
    """Addresses and accounts are people's business: Redis gets a hash."""
    return hashlib.blake2s(name.encode(), digest_size=12).hexdigest()
