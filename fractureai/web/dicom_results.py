"""A study's results as DICOM objects: each, and all in one archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from flask import Response

from fractureai.domain import keys
from fractureai.domain.records import StudyRow
from fractureai.web import files
from fractureai.web.api_blueprint import bp
from fractureai.web.context import web
from fractureai.web.problems import Problem
from fractureai.web.representations import read_result
from fractureai.web.streaming import Pipe, streamed, zip_entry

_CHUNK_BYTES = 64 * 1024


@bp.get("/studies/<id:study_id>/dicom/<name>.dcm")
def dicom_object(study_id: str, name: str) -> Response:
    """One DICOM result, by its name in the result."""
    return files.send_dicom(study_id, name)


@bp.get("/studies/<id:study_id>/dicom.zip")
def dicom_zip(study_id: str) -> Response:
    """All DICOM results."""
    row = web().ports.ledger.study(study_id, site=files.visible(study_id))
    if row is None:
        raise Problem("not_found")
    names = [entry["name"] for entry in (read_result(row) or {}).get("dicom_objects", ())]
    if not names:
        raise Problem("not_there_yet")
    return streamed(_archive(row, names), "application/zip", f"fractureai-{study_id[:8]}-dicom.zip")


def _archive(row: StudyRow, names: list[str]) -> Iterator[bytes]:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            with (
                web().ports.store.open(keys.dicom_object(row.site, row.study_id, name)) as stream,
                archive.open(zip_entry(f"{name}.dcm", row.finished_at_s), "w") as member,
            ):
                while chunk := stream.read(_CHUNK_BYTES):
                    member.write(chunk)
                    yield pipe.take()
    yield pipe.take()
