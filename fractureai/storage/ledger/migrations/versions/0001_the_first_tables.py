"""The first tables.

Revision ID: 0001
Revises:
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    String,
    Text,
    text,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPEN = text("state = 'open'")


def upgrade() -> None:
    """Make the tables."""
    _batches()
    _studies()


def downgrade() -> None:
    """Remove them."""
    for table in ("events", "images", "studies", "rejections", "uploads", "batches"):
        op.drop_table(table)


def _batches() -> None:
    op.create_table(
        "batches",
        Column("batch_id", String(32), nullable=False),
        Column("site", String(63), nullable=False),
        Column("label", Text, nullable=False),
        Column("state", String(16), nullable=False),
        Column("accepted_at_s", Double, nullable=False),
        Column("upload_count", Integer, nullable=False),
        Column("reasons", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("lease_owner", Text),
        Column("lease_until_s", Double),
        Column("publish_due_at_s", Double, nullable=False),
        Column("updated_at_s", Double, nullable=False),
        PrimaryKeyConstraint("batch_id", name="pk_batches"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_batches_due", "batches", ["publish_due_at_s", "batch_id"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_table(
        "uploads",
        Column("batch_id", String(32), nullable=False),
        Column("number", Integer, nullable=False, autoincrement=False),
        Column("file_name", Text, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        PrimaryKeyConstraint("batch_id", "number", name="pk_uploads"),
        ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name="fk_uploads_batch_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rejections",
        Column("batch_id", String(32), nullable=False),
        Column("number", Integer, nullable=False, autoincrement=False),
        Column("file_name", Text, nullable=False),
        Column("code", String(64), nullable=False),
        Column("detail", Text, nullable=False),
        PrimaryKeyConstraint("batch_id", "number", name="pk_rejections"),
        ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name="fk_rejections_batch_id"),
        sqlite_with_rowid=False,
    )


def _studies() -> None:
    op.create_table(
        "studies",
        Column("study_id", String(32), nullable=False),
        Column("site", String(63), nullable=False),
        Column("batch_id", String(32), nullable=False),
        Column("label", Text, nullable=False),
        Column("state", String(16), nullable=False),
        Column("stage", String(16)),
        Column("image_count", Integer, nullable=False),
        Column("accepted_at_s", Double, nullable=False),
        Column("updated_at_s", Double, nullable=False),
        Column("finished_at_s", Double),
        Column("attempts", Integer, nullable=False),
        Column("lease_owner", Text),
        Column("lease_until_s", Double),
        Column("claimed_at_s", Double),
        Column("publish_due_at_s", Double, nullable=False),
        Column("assessment", String(16)),
        Column("region", String(32)),
        Column("max_fracture_probability", Double),
        Column("reasons", Text, nullable=False),
        PrimaryKeyConstraint("study_id", name="pk_studies"),
        ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name="fk_studies_batch_id"),
        sqlite_with_rowid=False,
    )
    order = ["accepted_at_s", "study_id"]
    op.create_index("ix_studies_site", "studies", ["site", *order])
    op.create_index("ix_studies_site_state", "studies", ["site", "state", *order])
    op.create_index("ix_studies_batch", "studies", ["site", "batch_id", *order])
    op.create_index("ix_studies_batch_state", "studies", ["site", "batch_id", "state", *order])
    op.create_index(
        "ix_studies_due", "studies", ["publish_due_at_s", *order, "state"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_table(
        "images",
        Column("study_id", String(32), nullable=False),
        Column("number", Integer, nullable=False, autoincrement=False),
        Column("file_name", Text, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        PrimaryKeyConstraint("study_id", "number", name="pk_images"),
        ForeignKeyConstraint(["study_id"], ["studies.study_id"], name="fk_images_study_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        Column("event_id", BigInteger().with_variant(Integer, "sqlite"), nullable=False, autoincrement=True),
        Column("study_id", String(32), nullable=False),
        Column("at_s", Double, nullable=False),
        Column("what", String(32), nullable=False),
        Column("detail", Text, nullable=False),
        PrimaryKeyConstraint("event_id", name="pk_events"),
        ForeignKeyConstraint(["study_id"], ["studies.study_id"], name="fk_events_study_id"),
    )
    op.create_index("ix_events_study", "events", ["study_id", "event_id"])
