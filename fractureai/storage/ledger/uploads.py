"""Uploads that are sent file by file, until they are complete; and what is left of complete ones in the store."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from fractureai.domain.records import OpenUpload
from fractureai.domain.study import Batch, Upload
from fractureai.storage.ledger import intake, rows
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.inserts import insert_new
from fractureai.storage.ledger.schema import ARRIVALS, BATCHES, OPEN_UPLOADS, STUDIES, UPLOADS

_OPEN, _EXPIRED, _RECEIVING = "open", "expired", "receiving"
_TOUCH = (
    update(OPEN_UPLOADS)
    .where(
        OPEN_UPLOADS.c.batch_id == bindparam("id"),
        OPEN_UPLOADS.c.site == bindparam("of"),
        OPEN_UPLOADS.c.state == _OPEN,
    )
    .values(touched_at_s=bindparam("now"))
)
_UPLOAD = select(OPEN_UPLOADS.c.begun_at_s).where(
    OPEN_UPLOADS.c.batch_id == bindparam("id"), OPEN_UPLOADS.c.site == bindparam("of"), OPEN_UPLOADS.c.state == _OPEN
)
_ARRIVED = (
    select(ARRIVALS.c.number, ARRIVALS.c.file_name, ARRIVALS.c.size_bytes, ARRIVALS.c.sha256)
    .where(ARRIVALS.c.batch_id == bindparam("id"))
    .order_by(ARRIVALS.c.number)
)
_REPLACED = delete(ARRIVALS).where(ARRIVALS.c.batch_id == bindparam("id"), ARRIVALS.c.number == bindparam("nth"))
_FORGET = delete(OPEN_UPLOADS).where(
    OPEN_UPLOADS.c.batch_id == bindparam("id"), OPEN_UPLOADS.c.state == bindparam("as")
)
_STALE = (
    select(OPEN_UPLOADS.c.site, OPEN_UPLOADS.c.batch_id)
    .where(OPEN_UPLOADS.c.touched_at_s < bindparam("before"))
    .order_by(OPEN_UPLOADS.c.touched_at_s, OPEN_UPLOADS.c.batch_id)
    .limit(bindparam("most"))
)
_EXPIRE = (
    update(OPEN_UPLOADS)
    .where(OPEN_UPLOADS.c.batch_id == bindparam("id"), OPEN_UPLOADS.c.touched_at_s < bindparam("before"))
    .values(state=_EXPIRED)
)
_IS_BATCH = select(BATCHES.c.batch_id).where(BATCHES.c.batch_id == bindparam("id"), BATCHES.c.site == bindparam("of"))
_IS_STUDY = select(STUDIES.c.study_id).where(STUDIES.c.study_id == bindparam("id"), STUDIES.c.site == bindparam("of"))
_TO_CLEAN = (
    select(BATCHES)
    # Written out, not bound, for the partial index. A failed unpacking keeps its uploads: a person may have it retried.
    .where(BATCHES.c.uploads_kept == 1, BATCHES.c.updated_at_s < bindparam("before"), BATCHES.c.state == "done")
    .order_by(BATCHES.c.updated_at_s, BATCHES.c.batch_id)
    .limit(bindparam("most"))
)
_FILES = (
    select(UPLOADS.c.number, UPLOADS.c.file_name, UPLOADS.c.size_bytes, UPLOADS.c.sha256)
    .where(UPLOADS.c.batch_id == bindparam("id"))
    .order_by(UPLOADS.c.number)
)
_CLEANED = update(BATCHES).where(BATCHES.c.batch_id == bindparam("id")).values(uploads_kept=0)


class UploadMethods:
    """Uploads, as methods of the ledger."""

    _connections: Connections

    def begin_upload(self, batch_id: str, *, site: str, now_s: float) -> None:
        """Record that an upload has begun."""
        with self._connections.write(durable=False) as connection:
            _begin(connection, batch_id, site, now_s)

    def begin_receiving(self, subject_id: str, *, site: str, now_s: float) -> None:
        """Record, before the first byte is stored, under which id a study or batch is being received."""
        with self._connections.write(durable=False) as connection:
            _begin(connection, subject_id, site, now_s, _RECEIVING)

    def arrived(self, batch_id: str, upload: Upload, *, site: str, now_s: float) -> bool:
        """Record a file, in the place of one with its number. ``False`` if the upload has expired.

        Not synced: what a power cut forgets here is sent again, or completed by its receipt.
        """
        with self._connections.write(durable=False) as connection:
            if connection.execute(_IS_BATCH, {"id": batch_id, "of": site}).one_or_none() is not None:
                return False
            _begin(connection, batch_id, site, now_s)
            if connection.execute(_TOUCH, {"id": batch_id, "of": site, "now": now_s}).rowcount != 1:
                return False
            connection.execute(_REPLACED, {"id": batch_id, "nth": upload.number})
            insert_new(connection, ARRIVALS, {"batch_id": batch_id, **rows.file_values(upload)})
            return True

    def open_upload(self, batch_id: str, *, site: str) -> OpenUpload | None:
        """An upload that is not complete; ``None`` if there is none at this site."""
        with self._connections.read() as connection:
            begun_at_s = connection.execute(_UPLOAD, {"id": batch_id, "of": site}).scalar_one_or_none()
            if begun_at_s is None:
                return None
            files = tuple(Upload(*row) for row in connection.execute(_ARRIVED, {"id": batch_id}))
            return OpenUpload(site, batch_id, begun_at_s, files)

    def complete_upload(self, batch: Batch, *, publish_due_at_s: float) -> bool:
        """Record the batch an upload has become; ``False``, and nothing recorded, if the upload has expired."""
        with self._connections.write(durable=True) as connection:
            known = {"id": batch.batch_id, "of": batch.site}
            is_open = connection.execute(_TOUCH, {**known, "now": batch.accepted_at_s}).rowcount == 1
            if not is_open and connection.execute(_IS_BATCH, known).one_or_none() is None:
                return False
            intake.accept_batch(connection, batch, publish_due_at_s=publish_due_at_s)
            _forget(connection, batch.batch_id, _OPEN)
            return True

    def expire_uploads(self, *, touched_before_s: float, limit: int) -> list[tuple[str, str]]:
        """Close uploads that nothing was added to since then; ``(site, batch_id)`` of all that are closed."""
        with self._connections.write(durable=True) as connection:
            stale = connection.execute(_STALE, {"before": touched_before_s, "most": limit}).all()
            expired = []
            for row in stale:
                known = {"id": row.batch_id, "of": row.site}
                if any(connection.execute(asked, known).one_or_none() is not None for asked in (_IS_BATCH, _IS_STUDY)):
                    # A file that came in the moment of completion; what it belongs to is accepted, and not ours.
                    for state in (_OPEN, _RECEIVING, _EXPIRED):
                        _forget(connection, row.batch_id, state)
                elif connection.execute(_EXPIRE, {"id": row.batch_id, "before": touched_before_s}).rowcount:
                    expired.append((row.site, row.batch_id))
            return expired

    def forget_upload(self, batch_id: str) -> None:
        """Forget an expired upload whose files are gone."""
        with self._connections.write(durable=False) as connection:
            _forget(connection, batch_id, _EXPIRED)

    def batches_to_clean(self, *, unpacked_before_s: float, limit: int) -> list[Batch]:
        """Batches that were unpacked by then and whose uploads may still lie in the store."""
        with self._connections.read() as connection:
            found = connection.execute(_TO_CLEAN, {"before": unpacked_before_s, "most": limit}).all()
            return [rows.batch_of(row, connection.execute(_FILES, {"id": row.batch_id})) for row in found]

    def cleaned(self, batch_id: str) -> None:
        """The uploads of a batch are gone from the store."""
        with self._connections.write(durable=False) as connection:
            connection.execute(_CLEANED, {"id": batch_id})


def received(connection: Connection, subject_id: str) -> None:
    """What was being received is accepted: its bytes are nobody's leftovers."""
    for state in (_RECEIVING, _EXPIRED):
        connection.execute(_FORGET, {"id": subject_id, "as": state})


def _begin(connection: Connection, batch_id: str, site: str, now_s: float, state: str = _OPEN) -> None:
    values = {"batch_id": batch_id, "site": site, "state": state, "begun_at_s": now_s, "touched_at_s": now_s}
    insert_new(connection, OPEN_UPLOADS, values)


def _forget(connection: Connection, batch_id: str, state: str) -> None:
    which = {"id": batch_id, "as": state}
    here = select(OPEN_UPLOADS.c.batch_id).where(OPEN_UPLOADS.c.batch_id == batch_id, OPEN_UPLOADS.c.state == state)
    connection.execute(delete(ARRIVALS).where(ARRIVALS.c.batch_id == batch_id, exists(here)))
    connection.execute(_FORGET, which)
