"""Tables of the audit: the records, where each site's chain ends, and what receivers have had of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, String, Table, Text

from fractureai.storage.ledger.schema import METADATA

_SITE, _HASH = String(63), String(64)

AUDIT = Table(
    "audit",
    METADATA,
    Column("site", _SITE, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("event", Text, nullable=False),
    Column("previous", _HASH, nullable=False),
    Column("hash", _HASH, nullable=False),
    sqlite_with_rowid=False,
)

AUDIT_HEADS = Table(
    "audit_heads",
    METADATA,
    Column("site", _SITE, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", _HASH, nullable=False),
    sqlite_with_rowid=False,
)

AUDIT_CURSORS = Table(
    "audit_cursors",
    METADATA,
    Column("receiver", String(200), primary_key=True),
    Column("site", _SITE, primary_key=True),
    Column("number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What must not be deleted: one study, or all of one patient (by a keyed hash of the patient's id, never the id).
HOLDS = Table(
    "holds",
    METADATA,
    Column("site", _SITE, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    sqlite_with_rowid=False,
)
