"""fhir: the result of a study for systems that speak FHIR, fetched over the API or posted to a server."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from fractureai.domain import keys
from fractureai.domain.ports import FhirAttachment, FhirWriter, ObjectStore
from fractureai.domain.radiograph import Header
from fractureai.domain.records import StudyRow
from fractureai.domain.result import StudyResult
from fractureai.errors import TransientFailure
from fractureai.stages.artifacts import Classification, read_json

MAX_PDF_BYTES = 32 * 1024 * 1024


class Attach(StrEnum):
    """How the PDF goes with it: its bytes, its address, or not at all."""

    DATA = "data"
    URL = "url"
    NONE = "none"


def document(
    row: StudyRow, store: ObjectStore, writer: FhirWriter, attach: Attach, pdf_url: str
) -> dict[str, Any] | None:
    """The DiagnosticReport of a final study, ``None`` while there is none.

    Parameters
    ----------
    pdf_url:
        Where the PDF can be fetched; used with ``Attach.URL``, and where it is too large to be attached.
    """
    try:
        result = StudyResult.from_json(read_json(store, keys.result_json(row.site, row.study_id)))
    except TransientFailure as failure:
        if failure.code == "artifact_missing":
            return None
        raise
    return writer.report(row, result, _headers(row, store), _pdf(row, store, attach, pdf_url))


def _headers(row: StudyRow, store: ObjectStore) -> dict[int, Header]:
    """Of the images that are DICOM files; none if the study ended before it was read."""
    key = keys.classification_json(row.site, row.study_id)
    if store.size_bytes(key) is None:
        return {}
    images = Classification.from_json(read_json(store, key)).images
    return {image.number: image.header for image in images if image.header and image.header.sop_class_uid}


def _pdf(row: StudyRow, store: ObjectStore, attach: Attach, pdf_url: str) -> FhirAttachment | None:
    key = keys.report_pdf(row.site, row.study_id)
    size_bytes = None if attach is Attach.NONE else store.size_bytes(key)
    if size_bytes is None:
        return None
    if attach is Attach.URL or size_bytes > MAX_PDF_BYTES:
        return FhirAttachment(url=pdf_url)
    return FhirAttachment(data=store.get(key))
