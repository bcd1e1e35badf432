"""Who may do what, as methods of the ledger."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, delete, func, select, update

from fractureai.domain.access import Account, ApiKey, Kind, Principal, Role, Scope, Session
from fractureai.storage.ledger.access_tables import ACCOUNTS, API_KEYS, SESSIONS, SITES
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import STUDIES

_KEY = select(API_KEYS).where(API_KEYS.c.digest == bindparam("of"))
_USED = update(API_KEYS).where(API_KEYS.c.key_id == bindparam("id")).values(used_at_s=bindparam("now"))
_REVOKE = (
    update(API_KEYS)
    .where(API_KEYS.c.key_id == bindparam("id"), API_KEYS.c.revoked_at_s.is_(None))
    .values(revoked_at_s=bindparam("now"))
    .returning(API_KEYS)
)
_SESSION = select(SESSIONS).where(SESSIONS.c.digest == bindparam("of"))
_SEEN = update(SESSIONS).where(SESSIONS.c.digest == bindparam("of")).values(seen_at_s=bindparam("now"))


class AccessMethods:
    """Sites, keys, accounts and sessions, as methods of the ledger."""

    _connections: Connections

    def add_site(self, site: str, *, now_s: float) -> bool:
        """Know a site; ``False`` if it was known."""
        with self._connections.write(durable=True) as connection:
            return insert_new(connection, SITES, {"site": site, "created_at_s": now_s})

    def sites(self) -> list[str]:
        """All known sites, in order: those that were named, and those of studies."""
        with self._connections.read() as connection:
            named = connection.execute(select(SITES.c.site)).scalars()
            # Each look jumps to the next site in the primary order of the worklist: as cheap as there are sites few.
            found: set[str] = set(named)
            after: str | None = ""
            while after is not None:
                after = connection.execute(select(func.min(STUDIES.c.site)).where(STUDIES.c.site > after)).scalar()
                found |= {after} if after else set()
            return sorted(found)

    def add_key(self, key: ApiKey, digest: str) -> None:
        """Keep a key by its SHA-256."""
        with self._connections.write(durable=True) as connection:
            insert_new(connection, SITES, {"site": key.site, "created_at_s": key.created_at_s})
            values = {
                "key_id": key.key_id,
                "digest": digest,
                "site": key.site,
                "name": key.name,
                "scopes": _text(key.scopes),
                "created_at_s": key.created_at_s,
                "expires_at_s": key.expires_at_s,
            }
            connection.execute(API_KEYS.insert(), values)

    def key_of(self, digest: str) -> ApiKey | None:
        """The key with this SHA-256, also if it is no longer valid."""
        with self._connections.read() as connection:
            row = connection.execute(_KEY, {"of": digest}).one_or_none()
            return None if row is None else _key(row)

    def api_keys(self, *, site: str | None = None) -> list[ApiKey]:
        """All keys, of one site or of all, the newest first."""
        query = select(API_KEYS).order_by(API_KEYS.c.created_at_s.desc(), API_KEYS.c.key_id)
        with self._connections.read() as connection:
            rows = connection.execute(query if site is None else query.where(API_KEYS.c.site == site))
            return [_key(row) for row in rows]

    def revoke_key(self, key_id: str, *, now_s: float) -> ApiKey | None:
        """Close a key for good; ``None`` if there is none, or it was closed before."""
        with self._connections.write(durable=True) as connection:
            row = connection.execute(_REVOKE, {"id": key_id, "now": now_s}).one_or_none()
            return None if row is None else _key(row)

    def key_used(self, key_id: str, *, now_s: float) -> None:
        """Note the use. Not synced to disk."""
        with self._connections.write(durable=False) as connection:
            connection.execute(_USED, {"id": key_id, "now": now_s})

    def add_account(self, account: Account) -> bool:
        """Keep a person; ``False`` if the name is taken."""
        values = {
            "name": account.name,
            "site": account.site,
            "role": account.role.value,
            "password_hash": account.password_hash,
            "created_at_s": account.created_at_s,
        }
        with self._connections.write(durable=True) as connection:
            insert_new(connection, SITES, {"site": account.site, "created_at_s": account.created_at_s})
            return insert_new(connection, ACCOUNTS, values)

    def account(self, name: str) -> Account | None:
        """The person of this name."""
        with self._connections.read() as connection:
            row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).one_or_none()
            return None if row is None else _account(row)

    def accounts(self) -> list[Account]:
        """All of them, by name."""
        with self._connections.read() as connection:
            return [_account(row) for row in connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.name))]

    def set_password(self, name: str, password_hash: str) -> bool:
        """Another password; ``False`` if there is nobody of this name."""
        changed = update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(password_hash=password_hash)
        with self._connections.write(durable=True) as connection:
            return connection.execute(changed).rowcount == 1

    def signed_in(self, name: str, *, now_s: float) -> None:
        """Note the sign-in."""
        with self._connections.write(durable=False) as connection:
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(signed_in_at_s=now_s))

    def remove_account(self, name: str) -> bool:
        """Forget a person; ``False`` if there is nobody of this name."""
        with self._connections.write(durable=True) as connection:
            return connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.name == name)).rowcount == 1

    def add_session(self, session: Session) -> None:
        """Keep a sign-in."""
        who = session.principal
        values = {
            "digest": session.digest,
            "ident": who.ident,
            "name": who.name,
            "site": who.site,
            "scopes": _text(who.scopes),
            "created_at_s": session.created_at_s,
            "seen_at_s": session.seen_at_s,
            "expires_at_s": session.expires_at_s,
        }
        with self._connections.write(durable=True) as connection:
            connection.execute(SESSIONS.insert(), values)

    def session(self, digest: str) -> Session | None:
        """The sign-in of this cookie."""
        with self._connections.read() as connection:
            row = connection.execute(_SESSION, {"of": digest}).one_or_none()
        if row is None:
            return None
        who = Principal(Kind.PERSON, row.ident, row.name, row.site, _scopes(row.scopes))
        return Session(row.digest, who, row.created_at_s, row.seen_at_s, row.expires_at_s)

    def session_seen(self, digest: str, *, now_s: float) -> None:
        """Note that it is in use. Not synced to disk."""
        with self._connections.write(durable=False) as connection:
            connection.execute(_SEEN, {"of": digest, "now": now_s})

    def end_session(self, digest: str) -> bool:
        """Sign out."""
        with self._connections.write(durable=True) as connection:
            return connection.execute(delete(SESSIONS).where(SESSIONS.c.digest == digest)).rowcount == 1

    def end_sessions(self, ident: str) -> int:
        """Sign a person out everywhere; returns how many sign-ins ended."""
        with self._connections.write(durable=True) as connection:
            return connection.execute(delete(SESSIONS).where(SESSIONS.c.ident == ident)).rowcount

    def forget_sessions(self, *, expired_before_s: float, seen_before_s: float) -> int:
        """Forget sign-ins that are over; returns how many."""
        over = (SESSIONS.c.expires_at_s < expired_before_s) | (SESSIONS.c.seen_at_s < seen_before_s)
        with self._connections.write(durable=False) as connection:
            return connection.execute(delete(SESSIONS).where(over)).rowcount


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        row.key_id,
        row.site,
        row.name,
        _scopes(row.scopes),
        row.created_at_s,
        row.expires_at_s,
        row.revoked_at_s,
        row.used_at_s,
    )


def _account(row: Row[*tuple[Any, ...]]) -> Account:
    return Account(row.name, row.site, Role(row.role), row.password_hash, row.created_at_s, row.signed_in_at_s)


def _text(scopes: frozenset[Scope]) -> str:
    return " ".join(sorted(scopes))


def _scopes(text: str) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in text.split())
