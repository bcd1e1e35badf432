"""Worklist by suspicion and words, places among the finished, verdicts, keyed requests, open uploads, deliveries.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import secrets

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    String,
    Text,
    bindparam,
    text,
)

from fractureai.domain.search import words_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SITE, _ID = String(63), String(32)
_OPEN = text("state = 'open'")
_KEPT = text("uploads_kept = 1")
_UNDELIVERED = text("state <> 'delivered'")
_ORDER = ["accepted_at_s", "study_id"]
_STUDIES_A_ROUND = 2000

# name -> (columns now, columns before; None if it is new)
_WORKLIST: dict[str, tuple[list[str], list[str] | None]] = {
    "ix_studies_site": (["site", *_ORDER, "state", "assessment", "region"], ["site", *_ORDER]),
    "ix_studies_site_state": (["site", "state", *_ORDER, "assessment", "region"], ["site", "state", *_ORDER]),
    "ix_studies_assessment": (["site", "assessment", *_ORDER, "region", "state"], None),
    "ix_studies_region": (["site", "region", *_ORDER, "assessment", "state"], None),
    "ix_studies_suspicion": (["site", "suspicion", *_ORDER, "state", "region", "assessment"], None),
    "ix_studies_batch": (["site", "batch_id", *_ORDER, "state", "assessment", "region"], ["site", "batch_id", *_ORDER]),
    "ix_studies_batch_suspicion": (["site", "batch_id", "suspicion", *_ORDER], None),
    "ix_studies_finished": (["site", "finish_number"], None),
}
_TABLES = ("deliveries", "arrivals", "open_uploads", "keyed_requests", "verdicts", "finishes", "study_words")


def upgrade() -> None:
    """Add them, and fill them for the studies that are there."""
    op.add_column("batches", Column("uploads_kept", Integer, nullable=False, server_default="0"))
    op.create_index(
        "ix_batches_kept", "batches", ["updated_at_s", "batch_id"], sqlite_where=_KEPT, postgresql_where=_KEPT
    )
    op.add_column("studies", Column("suspicion", Double, nullable=False, server_default="0"))
    op.add_column("studies", Column("finish_number", BigInteger))
    _reading()
    _sending()
    _telling()
    _fill(op.get_bind())
    for name, (columns, before) in _WORKLIST.items():
        if before is not None:
            op.drop_index(name, table_name="studies")
        op.create_index(name, "studies", columns)


def downgrade() -> None:
    """Remove them."""
    for name, (_, before) in _WORKLIST.items():
        op.drop_index(name, table_name="studies")
        if before is not None:
            op.create_index(name, "studies", before)
    for table in _TABLES:
        op.drop_table(table)
    op.drop_column("studies", "finish_number")
    op.drop_column("studies", "suspicion")
    op.drop_index("ix_batches_kept", table_name="batches")
    op.drop_column("batches", "uploads_kept")


def _reading() -> None:
    word = String(64).with_variant(String(64, collation="C"), "postgresql")
    op.create_table(
        "study_words",
        Column("study_id", _ID, nullable=False),
        Column("word", word, nullable=False),
        Column("site", _SITE, nullable=False),
        PrimaryKeyConstraint("study_id", "word", name="pk_study_words"),
        ForeignKeyConstraint(["study_id"], ["studies.study_id"], name="fk_study_words_study_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_study_words_word", "study_words", ["site", "word", "study_id"])
    op.create_table(
        "finishes",
        Column("site", _SITE, nullable=False),
        Column("era", String(16), nullable=False),
        Column("last_number", BigInteger, nullable=False),
        PrimaryKeyConstraint("site", name="pk_finishes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "verdicts",
        Column("verdict_id", BigInteger().with_variant(Integer, "sqlite"), nullable=False, autoincrement=True),
        Column("study_id", _ID, nullable=False),
        Column("at_s", Double, nullable=False),
        Column("reader", Text, nullable=False),
        Column("agreement", String(16), nullable=False),
        Column("assessment", String(16)),
        Column("region", String(32)),
        Column("comment", Text, nullable=False),
        PrimaryKeyConstraint("verdict_id", name="pk_verdicts"),
        ForeignKeyConstraint(["study_id"], ["studies.study_id"], name="fk_verdicts_study_id"),
    )
    op.create_index("ix_verdicts_study", "verdicts", ["study_id", "verdict_id"])


def _sending() -> None:
    op.create_table(
        "keyed_requests",
        Column("site", _SITE, nullable=False),
        Column("key", Text, nullable=False),
        Column("fingerprint", String(64), nullable=False),
        Column("answer", Text, nullable=False),
        Column("at_s", Double, nullable=False),
        PrimaryKeyConstraint("site", "key", name="pk_keyed_requests"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_keyed_requests_at", "keyed_requests", ["at_s"])
    op.create_table(
        "open_uploads",
        Column("batch_id", _ID, nullable=False),
        Column("site", _SITE, nullable=False),
        Column("state", String(16), nullable=False),
        Column("begun_at_s", Double, nullable=False),
        Column("touched_at_s", Double, nullable=False),
        PrimaryKeyConstraint("batch_id", name="pk_open_uploads"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_open_uploads_touched", "open_uploads", ["touched_at_s", "batch_id"])
    op.create_table(
        "arrivals",
        Column("batch_id", _ID, nullable=False),
        Column("number", Integer, nullable=False, autoincrement=False),
        Column("file_name", Text, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        PrimaryKeyConstraint("batch_id", "number", name="pk_arrivals"),
        ForeignKeyConstraint(["batch_id"], ["open_uploads.batch_id"], name="fk_arrivals_batch_id"),
        sqlite_with_rowid=False,
    )


def _telling() -> None:
    op.create_table(
        "deliveries",
        Column("delivery_id", String(64), nullable=False),
        Column("site", _SITE, nullable=False),
        Column("study_id", _ID, nullable=False),
        Column("state", String(16), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("created_at_s", Double, nullable=False),
        Column("due_at_s", Double, nullable=False),
        Column("lease_until_s", Double),
        Column("last_error", Text, nullable=False),
        PrimaryKeyConstraint("delivery_id", name="pk_deliveries"),
        ForeignKeyConstraint(["study_id"], ["studies.study_id"], name="fk_deliveries_study_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_deliveries_due", "deliveries", ["due_at_s", "delivery_id"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_index(
        "ix_deliveries_undelivered",
        "deliveries",
        ["site", "created_at_s", "delivery_id"],
        sqlite_where=_UNDELIVERED,
        postgresql_where=_UNDELIVERED,
    )


def _fill(connection: Connection) -> None:
    op.execute(
        "UPDATE batches SET uploads_kept = 1"
        " WHERE EXISTS (SELECT 1 FROM uploads WHERE uploads.batch_id = batches.batch_id)"
    )
    op.execute(
        "UPDATE studies SET suspicion = COALESCE(max_fracture_probability, 0) + CASE assessment"
        " WHEN 'fracture' THEN 8 WHEN 'suspected' THEN 6 WHEN 'inconclusive' THEN 4 ELSE 2 END"
        " WHERE assessment IS NOT NULL"
    )
    op.execute(
        "UPDATE studies SET finish_number = placed.place FROM (SELECT study_id, row_number() OVER"
        " (PARTITION BY site ORDER BY finished_at_s, study_id) AS place FROM studies WHERE finished_at_s IS NOT NULL)"
        " AS placed WHERE placed.study_id = studies.study_id"
    )
    counted = connection.execute(text("SELECT site, max(finish_number) FROM studies GROUP BY site")).all()
    finishes = text("INSERT INTO finishes (site, era, last_number) VALUES (:site, :era, :last)")
    for site, last in counted:
        connection.execute(finishes, {"site": site, "era": secrets.token_hex(4), "last": last or 0})
    _fill_words(connection)


def _fill_words(connection: Connection) -> None:
    after = ""
    some = text("SELECT study_id, site, label FROM studies WHERE study_id > :after ORDER BY study_id LIMIT :most")
    names = text("SELECT study_id, file_name FROM images WHERE study_id IN :ids ORDER BY study_id, number").bindparams(
        bindparam("ids", expanding=True)
    )
    word = text("INSERT INTO study_words (study_id, word, site) VALUES (:study_id, :word, :site)")
    while found := connection.execute(some, {"after": after, "most": _STUDIES_A_ROUND}).all():
        after = found[-1].study_id
        texts = {row.study_id: [row.study_id, row.label] for row in found}
        for study_id, name in connection.execute(names, {"ids": list(texts)}):
            texts[study_id].append(name)
        connection.execute(
            word,
            [
                {"study_id": row.study_id, "word": one, "site": row.site}
                for row in found
                for one in words_of(texts[row.study_id])
            ],
        )
