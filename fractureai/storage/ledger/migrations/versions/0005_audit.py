"""The audit record, retention and holds.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Double, PrimaryKeyConstraint, String, Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SITE, _HASH = String(63), String(64)


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "audit",
        Column("site", _SITE, nullable=False),
        Column("number", BigInteger, nullable=False, autoincrement=False),
        Column("event", Text, nullable=False),
        Column("previous", _HASH, nullable=False),
        Column("hash", _HASH, nullable=False),
        PrimaryKeyConstraint("site", "number", name="pk_audit"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_heads",
        Column("site", _SITE, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("hash", _HASH, nullable=False),
        PrimaryKeyConstraint("site", name="pk_audit_heads"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_cursors",
        Column("receiver", String(200), nullable=False),
        Column("site", _SITE, nullable=False),
        Column("number", BigInteger, nullable=False),
        PrimaryKeyConstraint("receiver", "site", name="pk_audit_cursors"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holds",
        Column("site", _SITE, nullable=False),
        Column("kind", String(16), nullable=False),
        Column("subject", String(64), nullable=False),
        Column("reason", Text, nullable=False),
        Column("at_s", Double, nullable=False),
        PrimaryKeyConstraint("site", "kind", "subject", name="pk_holds"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("holds", "audit_cursors", "audit_heads", "audit"):
        op.drop_table(table)
