"""Which instance each image of a study names itself, so that a UID that is used twice is noticed.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String, text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_INDEXES = {"ix_images_sop": "sop_id", "ix_images_examination": "examination_id"}


def upgrade() -> None:
    """Images that are there already stay without a name."""
    op.add_column("images", Column("sop_id", String(32)))
    op.add_column("images", Column("examination_id", String(32)))
    op.add_column("images", Column("picture_sha256", String(64)))
    for name, column in _INDEXES.items():
        given = text(f"{column} IS NOT NULL")
        op.create_index(name, "images", [column, "study_id"], sqlite_where=given, postgresql_where=given)


def downgrade() -> None:
    """Forget the names."""
    for name in _INDEXES:
        op.drop_index(name, "images")
    op.drop_column("images", "picture_sha256")
    op.drop_column("images", "examination_id")
    op.drop_column("images", "sop_id")
