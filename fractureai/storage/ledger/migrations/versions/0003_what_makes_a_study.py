"""What of a batch makes a study: each file, or each folder.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Batches of before were sorted file by file."""
    op.add_column("batches", Column("grouping", String(16), nullable=False, server_default="file"))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("batches", "grouping")
