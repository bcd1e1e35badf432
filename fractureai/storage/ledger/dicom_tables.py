"""Tables of what comes from and goes to DICOM peers. Ids are derived from UIDs; no UID and no name is in them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, String, Table, Text, text

from fractureai.storage.ledger.schema import METADATA

_ID = String(32)
_SITE = String(63)
_UNSETTLED = text("state <> 'settled'")
_KEPT = text("kept = 1")

# ``waiting`` for more images; ``closing`` while a revision is being made; ``settled`` when every image is in one.
EXAMINATIONS = Table(
    "examinations",
    METADATA,
    Column("examination_id", _ID, primary_key=True),
    Column("site", _SITE, nullable=False),
    Column("state", String(16), nullable=False),
    Column("revision", Integer, nullable=False),
    # Images of revisions up to this one are no longer kept apart from their studies.
    Column("base_revision", Integer, nullable=False),
    Column("opened_at_s", Double, nullable=False),
    Column("last_arrival_s", Double, nullable=False),
    Column("due_at_s", Double, nullable=False),
    Column("kept", Integer, nullable=False),
    Index("ix_examinations_due", "due_at_s", "examination_id", sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED),
    Index("ix_examinations_kept", "last_arrival_s", "examination_id", sqlite_where=_KEPT, postgresql_where=_KEPT),
    sqlite_with_rowid=False,
)

INSTANCES = Table(
    "dicom_instances",
    METADATA,
    Column("instance_id", _ID, primary_key=True),
    Column("examination_id", _ID, ForeignKey("examinations.examination_id"), nullable=False),
    Column("site", _SITE, nullable=False),
    Column("arrival_id", _ID, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("caller", String(16), nullable=False),
    Column("received_at_s", Double, nullable=False),
    Column("revision", Integer),
    Index("ix_dicom_instances_examination", "examination_id", "received_at_s", "instance_id"),
    sqlite_with_rowid=False,
)

# The study's own row comes later, when the batch of the revision is unpacked.
REVISIONS = Table(
    "study_revisions",
    METADATA,
    Column("study_id", _ID, primary_key=True),
    Column("examination_id", _ID, ForeignKey("examinations.examination_id"), nullable=False),
    Column("site", _SITE, nullable=False),
    Column("number", Integer, nullable=False),
    Column("batch_id", _ID, nullable=False),
    Column("supersedes", _ID),
    Index("ix_study_revisions_examination", "examination_id", "number"),
    Index("ix_study_revisions_supersedes", "supersedes"),
    sqlite_with_rowid=False,
)

# What became of each object of a delivery that is made of several.
DELIVERY_OBJECTS = Table(
    "delivery_objects",
    METADATA,
    Column("delivery_id", String(64), ForeignKey("deliveries.delivery_id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)
