"""Everything of a batch or of the worklist in one file, streamed: a page of rows at a time, however many there are.

If the store or the database goes away in the middle, the connection is cut: whoever downloads sees that the file is
not whole, which a tidy end would hide.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response, json

from fractureai.domain import keys
from fractureai.domain.names import derived_name
from fractureai.domain.records import Page, StudyFilter, StudyRow, WorklistOrder
from fractureai.domain.study import WorkState
from fractureai.web import parameters
from fractureai.web.api_blueprint import bp
from fractureai.web.context import site, web
from fractureai.web.problems import Problem
from fractureai.web.representations import moment, read_result, study_summary
from fractureai.web.streaming import Pipe, streamed, zip_entry

_ROWS_A_LOOK = 200
_CHUNK_BYTES = 64 * 1024
_COLUMNS = (
    "study_id", "batch_id", "label", "state", "assessment", "region", "max_fracture_probability", "reasons",
    "image_count", "accepted_at", "finished_at", "status_url",
)  # fmt: skip
# What a spreadsheet takes for a formula, also in the wide forms it folds to these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_NAME_LENGTH = 60


@bp.get("/studies.csv")
def studies_csv() -> Response:
    """The worklist as a table."""
    rows = _rows(parameters.study_filter(), parameters.worklist_order())
    return streamed(_csv(rows), "text/csv", "fractureai-studies.csv")


@bp.get("/batches/<id:batch_id>/results.csv")
def batch_results_csv(batch_id: str) -> Response:
    """The studies of a batch as a table."""
    return streamed(_csv(_batch_rows(batch_id)), "text/csv", f"fractureai-{batch_id[:8]}.csv")


@bp.get("/batches/<id:batch_id>/results.ndjson")
def batch_results_ndjson(batch_id: str) -> Response:
    """The studies of a batch with their results, one JSON object a line."""
    lines = (json.dumps({**study_summary(row), "result": read_result(row)}) + "\n" for row in _batch_rows(batch_id))
    return streamed((line.encode() for line in lines), "application/x-ndjson", f"fractureai-{batch_id[:8]}.ndjson")


@bp.get("/batches/<id:batch_id>/reports.zip")
def batch_reports_zip(batch_id: str) -> Response:
    """All reports of a batch, and the table of all its studies."""
    rows = _batch_rows(batch_id)
    return streamed(_zip(rows, batch_id), "application/zip", f"fractureai-{batch_id[:8]}.zip")


def _batch_rows(batch_id: str) -> Iterator[StudyRow]:
    if web().ports.ledger.batch(batch_id, site=site()) is None:
        raise Problem("not_found")
    return _rows(StudyFilter(batch_id=batch_id), WorklistOrder.NEWEST)


def _rows(which: StudyFilter, order: WorklistOrder) -> Iterator[StudyRow]:
    """All rows, page by page. The first page is read at once, so that trouble is told before the answer begins."""

    def page(cursor: str | None) -> Page:
        return web().ports.ledger.studies(site=site(), which=which, order=order, cursor=cursor, limit=_ROWS_A_LOOK)

    def all_of(first: Page) -> Iterator[StudyRow]:
        yield from first.rows
        cursor = first.next_cursor
        while cursor is not None:
            following = page(cursor)
            yield from following.rows
            cursor = following.next_cursor

    return all_of(page(None))


def _csv(rows: Iterable[StudyRow]) -> Iterator[bytes]:
    # The mark at the beginning tells spreadsheets that it is UTF-8.
    yield "\ufeff".encode() + _line(_COLUMNS)
    for row in rows:
        summary = study_summary(row) | {"reasons": " ".join(reason.sentence for reason in row.reasons)}
        yield _line([_cell(summary[column]) for column in _COLUMNS])


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """A value for a spreadsheet; text that it would run as a formula is quoted by an apostrophe (CWE-1236)."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return str(value)


def _zip(rows: Iterable[StudyRow], batch_id: str) -> Iterator[bytes]:
    """PDFs are compressed already, so they are stored as they are; of each only its entry's few bytes are kept."""
    pipe = Pipe()
    now = moment(web().ports.clock())
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for row in rows:
            if row.state is WorkState.DONE:
                yield from _report(archive, pipe, row)
        with archive.open(zip_entry(f"results-{now and now[:10]}.csv"), "w") as member:
            for line in _csv(_batch_rows(batch_id)):
                member.write(line)
                yield pipe.take()
    yield pipe.take()


def _report(archive: zipfile.ZipFile, pipe: Pipe, row: StudyRow) -> Iterator[bytes]:
    try:
        with web().ports.store.open(keys.report_pdf(row.site, row.study_id)) as stream:
            name = derived_name(_file_name(row.label), f"{row.study_id[:8]}.pdf")
            entry = zip_entry(name, row.finished_at_s)
            with archive.open(entry, "w") as member:
                while chunk := stream.read(_CHUNK_BYTES):
                    member.write(chunk)
                    yield pipe.take()
    except KeyError:
        return  # the table beside the reports names the study all the same
    yield pipe.take()


def _file_name(label: str) -> str:
    """What of a label may stand in a file name on every system; what tells files apart is the id after it."""
    kept = "".join(letter if letter.isalnum() or letter in " -" else "_" for letter in label).strip(" _-")
    return f"{kept[:_NAME_LENGTH].strip()} " if kept else ""
