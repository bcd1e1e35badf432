"""The ledger's tables: the state of the work, never pixels and never patient data."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

# The last migration. Kept here so that a process can see that all is well without loading Alembic (0.15 s).
HEAD = "0008"

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_ID = String(32)
_SITE = String(63)
_CODE = String(64)
_OPEN = text("state = 'open'")
_KEPT = text("uploads_kept = 1")
_NAMED, _PLACED = text("sop_id IS NOT NULL"), text("examination_id IS NOT NULL")
_UNDELIVERED = text("state <> 'delivered'")
# Words are compared by code points, so that what begins with "frac" is one stretch of the index.
_WORD = String(64).with_variant(String(64, collation="C"), "postgresql")

BATCHES = Table(
    "batches",
    METADATA,
    Column("batch_id", _ID, primary_key=True),
    Column("site", _SITE, nullable=False),
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
    # Whether its uploads may still lie in the store, although studies were made of them.
    Column("uploads_kept", Integer, nullable=False, server_default="0"),
    Column("grouping", String(16), nullable=False, server_default="file"),
    Column("setbacks", Integer, nullable=False, server_default="0"),
    Column("troubled_since_s", Double),
    Index("ix_batches_due", "publish_due_at_s", "batch_id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("ix_batches_kept", "updated_at_s", "batch_id", sqlite_where=_KEPT, postgresql_where=_KEPT),
    sqlite_with_rowid=False,
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("batch_id", _ID, ForeignKey("batches.batch_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file_name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    sqlite_with_rowid=False,
)

# What of a batch became no image of a study: an upload, or a member of one, and why; what was skipped is among them.
REJECTIONS = Table(
    "rejections",
    METADATA,
    Column("batch_id", _ID, ForeignKey("batches.batch_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file_name", Text, nullable=False),
    Column("code", _CODE, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)

STUDIES = Table(
    "studies",
    METADATA,
    Column("study_id", _ID, primary_key=True),
    Column("site", _SITE, nullable=False),
    Column("batch_id", _ID, ForeignKey("batches.batch_id"), nullable=False),
    Column("label", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # Where the work stands; kept when it failed, so that a person can have it tried again from there.
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
    # Assessment and probability as one number, the most suspicious the highest; nothing yet is 0.
    Column("suspicion", Double, nullable=False, server_default="0"),
    # The place among all that was finished at the site; see ``finished``.
    Column("finish_number", BigInteger),
    # A walk-in before bulk; within bulk, batches take turns (see ``order``).
    Column("priority", Integer, nullable=False, server_default="1"),
    Column("turn", BigInteger, nullable=False, server_default="0"),
    # Times the stage had to be put off because store or ledger was away, and since when that goes on.
    Column("setbacks", Integer, nullable=False, server_default="0"),
    Column("troubled_since_s", Double),
    # The worklist. The site leads each, so that the longest match is the right one for planners without statistics
    # too; what else may be asked for follows the order, so that a row that does not fit costs no look at the table.
    Index("ix_studies_site", "site", "accepted_at_s", "study_id", "state", "assessment", "region"),
    Index("ix_studies_site_state", "site", "state", "accepted_at_s", "study_id", "assessment", "region"),
    Index("ix_studies_assessment", "site", "assessment", "accepted_at_s", "study_id", "region", "state"),
    Index("ix_studies_region", "site", "region", "accepted_at_s", "study_id", "assessment", "state"),
    Index("ix_studies_suspicion", "site", "suspicion", "accepted_at_s", "study_id", "state", "region", "assessment"),
    Index("ix_studies_batch", "site", "batch_id", "accepted_at_s", "study_id", "state", "assessment", "region"),
    Index("ix_studies_batch_state", "site", "batch_id", "state", "accepted_at_s", "study_id"),
    Index("ix_studies_batch_suspicion", "site", "batch_id", "suspicion", "accepted_at_s", "study_id"),
    Index("ix_studies_finished", "site", "finish_number"),
    # The reconciler: small, because only open studies are in it. The state is always "open" here; with it, SQLite can
    # count from the index alone.
    Index(
        "ix_studies_due",
        "publish_due_at_s",
        "accepted_at_s",
        "study_id",
        "state",
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    # The order the open ones are published in, and whether their time has come, from the index alone.
    Index(
        "ix_studies_turn",
        "priority",
        "turn",
        "study_id",
        "publish_due_at_s",
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    sqlite_with_rowid=False,
)

# Who of several schedulers acts, and until when.
LEADERS = Table(
    "leaders",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until_s", Double, nullable=False),
    sqlite_with_rowid=False,
)

# How far the turns of bulk work have come; see ``order``.
TURNS = Table(
    "turns",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("turn", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

IMAGES = Table(
    "images",
    METADATA,
    Column("study_id", _ID, ForeignKey("studies.study_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file_name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    # Ids of the UIDs that a DICOM file names itself by: one-way, and of this site only.
    Column("sop_id", _ID),
    Column("examination_id", _ID),
    # Of what was decoded, once it is.
    Column("picture_sha256", String(64)),
    Index("ix_images_sop", "sop_id", "study_id", sqlite_where=_NAMED, postgresql_where=_NAMED),
    Index("ix_images_examination", "examination_id", "study_id", sqlite_where=_PLACED, postgresql_where=_PLACED),
    sqlite_with_rowid=False,
)

EVENTS = Table(
    "events",
    METADATA,
    Column("event_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("study_id", _ID, ForeignKey("studies.study_id"), nullable=False),
    Column("at_s", Double, nullable=False),
    Column("what", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_events_study", "study_id", "event_id"),
)

# The words a study is found by; see ``fractureai.domain.search``.
WORDS = Table(
    "study_words",
    METADATA,
    Column("study_id", _ID, ForeignKey("studies.study_id"), primary_key=True),
    Column("word", _WORD, primary_key=True),
    Column("site", _SITE, nullable=False),
    Index("ix_study_words_word", "site", "word", "study_id"),
    sqlite_with_rowid=False,
)

# One row a site: how many studies were finished, counted under the row's lock so that places are seen in their order.
FINISHES = Table(
    "finishes",
    METADATA,
    Column("site", _SITE, primary_key=True),
    # Tells this ledger from one that was lost: its cursors mean nothing here.
    Column("era", String(16), nullable=False),
    Column("last_number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

VERDICTS = Table(
    "verdicts",
    METADATA,
    Column("verdict_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("study_id", _ID, ForeignKey("studies.study_id"), nullable=False),
    Column("at_s", Double, nullable=False),
    Column("reader", Text, nullable=False),
    Column("agreement", String(16), nullable=False),
    Column("assessment", String(16)),
    Column("region", String(32)),
    Column("comment", Text, nullable=False),
    Index("ix_verdicts_study", "study_id", "verdict_id"),
)

REQUESTS = Table(
    "keyed_requests",
    METADATA,
    Column("site", _SITE, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    Index("ix_keyed_requests_at", "at_s"),
    sqlite_with_rowid=False,
)

# Uploads that are sent file by file and are not complete; no batch yet.
OPEN_UPLOADS = Table(
    "open_uploads",
    METADATA,
    Column("batch_id", _ID, primary_key=True),
    Column("site", _SITE, nullable=False),
    Column("state", String(16), nullable=False),
    Column("begun_at_s", Double, nullable=False),
    Column("touched_at_s", Double, nullable=False),
    Index("ix_open_uploads_touched", "touched_at_s", "batch_id"),
    sqlite_with_rowid=False,
)

ARRIVALS = Table(
    "arrivals",
    METADATA,
    Column("batch_id", _ID, ForeignKey("open_uploads.batch_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file_name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    sqlite_with_rowid=False,
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("delivery_id", String(64), primary_key=True),
    Column("site", _SITE, nullable=False),
    Column("study_id", _ID, ForeignKey("studies.study_id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at_s", Double, nullable=False),
    Column("due_at_s", Double, nullable=False),
    Column("lease_until_s", Double),
    Column("last_error", Text, nullable=False),
    # How it is told, and to which peer of that kind.
    Column("channel", String(16), nullable=False, server_default="webhook"),
    Column("destination", String(32), nullable=False, server_default=""),
    Index("ix_deliveries_due", "due_at_s", "delivery_id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index(
        "ix_deliveries_undelivered",
        "site",
        "created_at_s",
        "delivery_id",
        sqlite_where=_UNDELIVERED,
        postgresql_where=_UNDELIVERED,
    ),
    sqlite_with_rowid=False,
)
