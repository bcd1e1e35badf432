"""Examinations that come in by DICOM, and results on their way to DICOM and FHIR peers.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

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

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SITE, _ID = String(63), String(32)
_UNSETTLED = text("state <> 'settled'")
_KEPT = text("kept = 1")


def upgrade() -> None:
    """Add them; deliveries of before are the webhook's."""
    op.add_column("deliveries", Column("channel", String(16), nullable=False, server_default="webhook"))
    op.add_column("deliveries", Column("destination", String(32), nullable=False, server_default=""))
    _coming_in()
    op.create_table(
        "delivery_objects",
        Column("delivery_id", String(64), nullable=False),
        Column("name", String(64), nullable=False),
        Column("state", String(16), nullable=False),
        Column("detail", Text, nullable=False),
        PrimaryKeyConstraint("delivery_id", "name", name="pk_delivery_objects"),
        ForeignKeyConstraint(["delivery_id"], ["deliveries.delivery_id"], name="fk_delivery_objects_delivery_id"),
        sqlite_with_rowid=False,
    )


def _coming_in() -> None:
    op.create_table(
        "examinations",
        Column("examination_id", _ID, nullable=False),
        Column("site", _SITE, nullable=False),
        Column("state", String(16), nullable=False),
        Column("revision", Integer, nullable=False),
        Column("base_revision", Integer, nullable=False),
        Column("opened_at_s", Double, nullable=False),
        Column("last_arrival_s", Double, nullable=False),
        Column("due_at_s", Double, nullable=False),
        Column("kept", Integer, nullable=False),
        PrimaryKeyConstraint("examination_id", name="pk_examinations"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_examinations_due",
        "examinations",
        ["due_at_s", "examination_id"],
        sqlite_where=_UNSETTLED,
        postgresql_where=_UNSETTLED,
    )
    op.create_index(
        "ix_examinations_kept",
        "examinations",
        ["last_arrival_s", "examination_id"],
        sqlite_where=_KEPT,
        postgresql_where=_KEPT,
    )
    op.create_table(
        "dicom_instances",
        Column("instance_id", _ID, nullable=False),
        Column("examination_id", _ID, nullable=False),
        Column("site", _SITE, nullable=False),
        Column("arrival_id", _ID, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("modality", String(16), nullable=False),
        Column("caller", String(16), nullable=False),
        Column("received_at_s", Double, nullable=False),
        Column("revision", Integer),
        PrimaryKeyConstraint("instance_id", name="pk_dicom_instances"),
        ForeignKeyConstraint(
            ["examination_id"], ["examinations.examination_id"], name="fk_dicom_instances_examination_id"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_dicom_instances_examination", "dicom_instances", ["examination_id", "received_at_s", "instance_id"]
    )
    op.create_table(
        "study_revisions",
        Column("study_id", _ID, nullable=False),
        Column("examination_id", _ID, nullable=False),
        Column("site", _SITE, nullable=False),
        Column("number", Integer, nullable=False),
        Column("batch_id", _ID, nullable=False),
        Column("supersedes", _ID),
        PrimaryKeyConstraint("study_id", name="pk_study_revisions"),
        ForeignKeyConstraint(
            ["examination_id"], ["examinations.examination_id"], name="fk_study_revisions_examination_id"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_study_revisions_examination", "study_revisions", ["examination_id", "number"])
    op.create_index("ix_study_revisions_supersedes", "study_revisions", ["supersedes"])


def downgrade() -> None:
    """Remove them; deliveries to other peers than the webhook's are forgotten."""
    op.drop_table("delivery_objects")
    for table in ("study_revisions", "dicom_instances", "examinations"):
        op.drop_table(table)
    op.execute("DELETE FROM deliveries WHERE channel <> 'webhook'")
    op.drop_column("deliveries", "destination")
    op.drop_column("deliveries", "channel")
