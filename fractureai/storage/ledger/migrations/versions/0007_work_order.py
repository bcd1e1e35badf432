"""Priority and fairness of the work, outages counted apart from attempts, one leader among schedulers.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, PrimaryKeyConstraint, String, Text, text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OPEN = text("state = 'open'")
_NEW = ("priority", "turn", "setbacks", "troubled_since_s")


def upgrade() -> None:
    """What is open already goes first: its turn is 0."""
    op.add_column("studies", Column("priority", Integer, nullable=False, server_default="1"))
    op.add_column("studies", Column("turn", BigInteger, nullable=False, server_default="0"))
    for table in ("studies", "batches"):
        op.add_column(table, Column("setbacks", Integer, nullable=False, server_default="0"))
        op.add_column(table, Column("troubled_since_s", Double))
    op.create_index(
        "ix_studies_turn",
        "studies",
        ["priority", "turn", "study_id", "publish_due_at_s"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "leaders",
        Column("name", String(32), nullable=False),
        Column("owner", Text, nullable=False),
        Column("until_s", Double, nullable=False),
        PrimaryKeyConstraint("name", name="pk_leaders"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "turns",
        Column("name", String(32), nullable=False),
        Column("turn", BigInteger, nullable=False),
        PrimaryKeyConstraint("name", name="pk_turns"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("turns")
    op.drop_table("leaders")
    op.drop_index("ix_studies_turn", "studies")
    for table in ("batches", "studies"):
        op.drop_column(table, "troubled_since_s")
        op.drop_column(table, "setbacks")
    op.drop_column("studies", "turn")
    op.drop_column("studies", "priority")
