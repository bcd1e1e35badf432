"""Who asks, for which site, and what they may do. Values, and ports that ``fractureai.access`` and the ledger fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fractureai.domain.study import check_site


class Scope(StrEnum):
    """What somebody may do at their site. ``admin`` includes the others; ``submit`` and ``read`` do not include each
    other, so that the key in a scanner can send and never look.
    """

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


class Role(StrEnum):
    """What a person is, as a set of scopes."""

    VIEWER = "viewer"
    READER = "reader"
    ADMIN = "admin"

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the role may do: a viewer looks, a reader also sends and gives verdicts."""
        return _SCOPES_OF[self]


_SCOPES_OF = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.READER: frozenset({Scope.READ, Scope.SUBMIT}),
    Role.ADMIN: frozenset(Scope),
}


class Kind(StrEnum):
    """How somebody is known."""

    LOCAL = "local"
    """Whoever sits at this machine: the service listens on loopback and asks nobody."""
    KEY = "key"
    PERSON = "person"
    PEER = "peer"
    """A DICOM node, by its application entity title and address."""
    OPERATOR = "operator"
    """Whoever runs commands on the machine of the installation."""
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes
    ----------
    ident:
        The key's id, the account's or the provider's name of the person; stable, and no secret.
    name:
        For people: what the key is called, the person's name.
    """

    kind: Kind
    ident: str
    name: str
    site: str
    scopes: frozenset[Scope]

    def __post_init__(self) -> None:
        check_site(self.site)

    def may(self, scope: Scope) -> bool:
        """Whether the scope is among theirs."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the ledger knows it. The key itself is nowhere: only its SHA-256 is kept."""

    key_id: str
    site: str
    name: str
    scopes: frozenset[Scope]
    created_at_s: float
    expires_at_s: float | None
    revoked_at_s: float | None = None
    used_at_s: float | None = None

    def valid(self, now_s: float) -> bool:
        """Whether it opens anything now."""
        return self.revoked_at_s is None and (self.expires_at_s is None or now_s < self.expires_at_s)

    @property
    def principal(self) -> Principal:
        """Who comes with it."""
        return Principal(Kind.KEY, self.key_id, self.name, self.site, self.scopes)


@dataclass(frozen=True, slots=True)
class Account:
    """A person with a password at this installation."""

    name: str
    site: str
    role: Role
    password_hash: str
    created_at_s: float
    signed_in_at_s: float | None = None

    @property
    def principal(self) -> Principal:
        """The person."""
        return Principal(Kind.PERSON, f"account:{self.name}", self.name, self.site, self.role.scopes)


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in.

    Attributes
    ----------
    digest:
        SHA-256 of the cookie's value; the value itself is only in the browser.
    """

    digest: str
    principal: Principal
    created_at_s: float
    seen_at_s: float
    expires_at_s: float


class AccessLedger(Protocol):
    """Sites, keys, accounts and sessions. Every method is one transaction."""

    def add_site(self, site: str, *, now_s: float) -> bool:
        """Know a site; ``False`` if it was known."""

    def sites(self) -> list[str]:
        """All known sites, in order: those that were named, and those of studies."""

    def add_key(self, key: ApiKey, digest: str) -> None:
        """Keep a key by its SHA-256."""

    def key_of(self, digest: str) -> ApiKey | None:
        """The key with this SHA-256, also if it is no longer valid."""

    def api_keys(self, *, site: str | None = None) -> list[ApiKey]:
        """All keys, of one site or of all, the newest first."""

    def revoke_key(self, key_id: str, *, now_s: float) -> ApiKey | None:
        """Close a key for good; ``None`` if there is none, or it was closed before."""

    def key_used(self, key_id: str, *, now_s: float) -> None:
        """Note the use. Not synced to disk."""

    def add_account(self, account: Account) -> bool:
        """Keep a person; ``False`` if the name is taken."""

    def account(self, name: str) -> Account | None:
        """The person of this name."""

    def accounts(self) -> list[Account]:
        """All of them, by name."""

    def set_password(self, name: str, password_hash: str) -> bool:
        """Another password; ``False`` if there is nobody of this name."""

    def signed_in(self, name: str, *, now_s: float) -> None:
        """Note the sign-in."""

    def remove_account(self, name: str) -> bool:
        """Forget a person; ``False`` if there is nobody of this name."""

    def add_session(self, session: Session) -> None:
        """Keep a sign-in."""

    def session(self, digest: str) -> Session | None:
        """The sign-in of this cookie."""

    def session_seen(self, digest: str, *, now_s: float) -> None:
        """Note that it is in use. Not synced to disk."""

    def end_session(self, digest: str) -> bool:
        """Sign out."""

    def end_sessions(self, ident: str) -> int:
        """Sign a person out everywhere; returns how many sign-ins ended."""

    def forget_sessions(self, *, expired_before_s: float, seen_before_s: float) -> int:
        """Forget sign-ins that are over; returns how many."""


@dataclass(frozen=True, slots=True)
class SignInStart:
    """The way to the provider: where to send the browser, and what it must bring back."""

    url: str
    state: str
    nonce: str
    verifier: str


class Denied(Exception):
    """Somebody was not let in.

    Attributes
    ----------
    why:
        One short phrase for the audit and the log, never for the one who asked.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Gate(Protocol):
    """Who is at the door."""

    @property
    def has_provider(self) -> bool:
        """Whether people can sign in at a provider."""

    def by_key(self, text: str, *, now_s: float) -> Principal | None:
        """Who comes with this key; ``None`` for what opens nothing."""

    def by_session(self, token: str, *, now_s: float) -> Principal | None:
        """Whose sign-in this is; ``None`` if it is over."""

    def sign_in(self, name: str, password: str, *, now_s: float) -> Principal:
        """The person with this name and password. Raises :class:`Denied`, after as long as it takes to be let in."""

    def begin_sign_in(self, redirect_uri: str) -> SignInStart:
        """Begin at the provider. Raises ``TransientFailure('provider_unavailable')``."""

    def complete_sign_in(self, start: SignInStart, *, code: str, redirect_uri: str, now_s: float) -> Principal:
        """Who the provider says it is. Raises :class:`Denied`, and as :meth:`begin_sign_in`."""

    def open_session(self, principal: Principal, *, now_s: float) -> str:
        """Sign somebody in; returns the new cookie's value."""

    def close_session(self, token: str) -> None:
        """Sign out."""

    def over_limit(self, budget: str, who: Sequence[str]) -> float | None:
        """Take one from the budget of each of ``who``; the seconds to wait if one is used up, else ``None``."""
