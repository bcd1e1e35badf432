"""Sites, keys, accounts and sign-ins.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, PrimaryKeyConstraint, String, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SITE, _DIGEST = String(63), String(64)


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "sites",
        Column("site", _SITE, nullable=False),
        Column("created_at_s", Double, nullable=False),
        PrimaryKeyConstraint("site", name="pk_sites"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "api_keys",
        Column("key_id", String(12), nullable=False),
        Column("digest", _DIGEST, nullable=False),
        Column("site", _SITE, nullable=False),
        Column("name", Text, nullable=False),
        Column("scopes", String(64), nullable=False),
        Column("created_at_s", Double, nullable=False),
        Column("expires_at_s", Double),
        Column("revoked_at_s", Double),
        Column("used_at_s", Double),
        PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_api_keys_digest", "api_keys", ["digest"], unique=True)
    op.create_table(
        "accounts",
        Column("name", String(64), nullable=False),
        Column("site", _SITE, nullable=False),
        Column("role", String(16), nullable=False),
        Column("password_hash", Text, nullable=False),
        Column("created_at_s", Double, nullable=False),
        Column("signed_in_at_s", Double),
        PrimaryKeyConstraint("name", name="pk_accounts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        Column("digest", _DIGEST, nullable=False),
        Column("ident", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("site", _SITE, nullable=False),
        Column("scopes", String(64), nullable=False),
        Column("created_at_s", Double, nullable=False),
        Column("seen_at_s", Double, nullable=False),
        Column("expires_at_s", Double, nullable=False),
        PrimaryKeyConstraint("digest", name="pk_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sessions_ident", "sessions", ["ident"])
    op.create_index("ix_sessions_seen", "sessions", ["seen_at_s"])


def downgrade() -> None:
    """Remove them."""
    for table in ("sessions", "accounts", "api_keys", "sites"):
        op.drop_table(table)
