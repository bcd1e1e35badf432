"""Tables of who may do what: sites, keys, accounts and sign-ins. No key, password or cookie is in them, only hashes."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, String, Table, Text

from fractureai.storage.ledger.schema import METADATA

_SITE = String(63)
_DIGEST = String(64)

SITES = Table(
    "sites",
    METADATA,
    Column("site", _SITE, primary_key=True),
    Column("created_at_s", Double, nullable=False),
    sqlite_with_rowid=False,
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("key_id", String(12), primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("site", _SITE, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("created_at_s", Double, nullable=False),
    Column("expires_at_s", Double),
    Column("revoked_at_s", Double),
    Column("used_at_s", Double),
    Index("ix_api_keys_digest", "digest", unique=True),
    sqlite_with_rowid=False,
)

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("site", _SITE, nullable=False),
    Column("role", String(16), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at_s", Double, nullable=False),
    Column("signed_in_at_s", Double),
    sqlite_with_rowid=False,
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", _DIGEST, primary_key=True),
    Column("ident", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("site", _SITE, nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("created_at_s", Double, nullable=False),
    Column("seen_at_s", Double, nullable=False),
    Column("expires_at_s", Double, nullable=False),
    Index("ix_sessions_ident", "ident"),
    Index("ix_sessions_seen", "seen_at_s"),
    sqlite_with_rowid=False,
)
