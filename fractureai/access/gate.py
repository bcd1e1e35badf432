"""Who is at the door: keys, sign-ins and budgets, over the ledger."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fractureai.access import keys, passwords
from fractureai.access.limits import Limiter
from fractureai.access.oidc import Provider
from fractureai.domain.access import AccessLedger, Denied, Principal, Session, SignInStart
from fractureai.errors import BrokenDeployment

_USE_NOTED_EVERY_S = 60.0
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How long a sign-in lasts: after the last request, and in all."""

    idle_s: float = 3600.0
    absolute_s: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class AccessGate:
    """The ``Gate`` of ``fractureai.domain.access``. Everything is asked of the ledger at every request, so what is
    revoked is closed at once, in every process.
    """

    ledger: AccessLedger
    limiter: Limiter
    rules: SessionRules = SessionRules()
    provider: Provider | None = None

    @property
    def has_provider(self) -> bool:
        """Whether people can sign in at a provider."""
        return self.provider is not None

    def by_key(self, text: str, *, now_s: float) -> Principal | None:
        """Who comes with this key; ``None`` for what opens nothing."""
        if not keys.is_well_formed(text):
            return None
        key = self.ledger.key_of(keys.digest_of(text))
        if key is None or not key.valid(now_s):
            return None
        if key.used_at_s is None or now_s - key.used_at_s >= _USE_NOTED_EVERY_S:
            self.ledger.key_used(key.key_id, now_s=now_s)
        return key.principal

    def by_session(self, token: str, *, now_s: float) -> Principal | None:
        """Whose sign-in this is; ``None`` if it is over."""
        digest = _digest(token)
        session = self.ledger.session(digest)
        if session is None or now_s >= session.expires_at_s or now_s - session.seen_at_s >= self.rules.idle_s:
            return None
        if now_s - session.seen_at_s >= min(_USE_NOTED_EVERY_S, self.rules.idle_s / 4):
            self.ledger.session_seen(digest, now_s=now_s)
        return session.principal

    def sign_in(self, name: str, password: str, *, now_s: float) -> Principal:
        """The person with this name and password. Raises :class:`Denied`, after as long as it takes to be let in."""
        account = self.ledger.account(name)
        if not passwords.is_right(password, account and account.password_hash) or account is None:
            raise Denied("wrong name or password")
        if passwords.is_dated(account.password_hash):
            self.ledger.set_password(name, passwords.hash_of(password, account=name))
        self.ledger.signed_in(name, now_s=now_s)
        return account.principal

    def begin_sign_in(self, redirect_uri: str) -> SignInStart:
        """Begin at the provider."""
        return self._provider().begin(redirect_uri)

    def complete_sign_in(self, start: SignInStart, *, code: str, redirect_uri: str, now_s: float) -> Principal:
        """Who the provider says it is. Raises :class:`Denied`."""
        return self._provider().complete(start, code=code, redirect_uri=redirect_uri, now_s=now_s)

    def open_session(self, principal: Principal, *, now_s: float) -> str:
        """Sign somebody in; returns the new cookie's value, which is nowhere else."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.ledger.add_session(Session(_digest(token), principal, now_s, now_s, now_s + self.rules.absolute_s))
        return token

    def close_session(self, token: str) -> None:
        """Sign out."""
        self.ledger.end_session(_digest(token))

    def over_limit(self, budget: str, who: Sequence[str]) -> float | None:
        """Take one from the budget of each of ``who``; the seconds to wait if one is used up, else ``None``."""
        return self.limiter.over(budget, who)

    def _provider(self) -> Provider:
        if self.provider is None:
            raise BrokenDeployment("no provider to sign in at: set FRACTUREAI_ACCESS__OIDC_ISSUER")
        return self.provider


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
