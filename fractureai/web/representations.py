"""What the ledger's rows and the store's results look like as JSON, and how their freshness is told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Response, json, request

from fractureai.domain import keys
from fractureai.domain.contents import skipped_sentence
from fractureai.domain.records import BatchRow, DeliveredObject, Delivery, Page, StudyRow, Verdict
from fractureai.domain.study import Study, WorkState
from fractureai.web.context import link, site, web

# artifact in the result -> file name in the address; the store's key functions stand beside them in ``files``.
PICTURES = {"image": "image.png", "heat": "heat.png", "overlay": "overlay.jpg", "roi": "roi.png"}

# How long to wait before asking again, by how long the work has been open: quick at first, then gentle.
_PATIENCE_S = ((20.0, 1), (120.0, 2), (float("inf"), 5))


def moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def study_summary(row: StudyRow) -> dict[str, Any]:
    """A study in a list."""
    return {
        "study_id": row.study_id,
        "batch_id": row.batch_id,
        "label": row.label,
        "state": row.state.value,
        "stage": row.stage.value if row.stage else None,
        "attempts": row.attempts,
        "image_count": row.image_count,
        "accepted_at": moment(row.accepted_at_s),
        "updated_at": moment(row.updated_at_s),
        "finished_at": moment(row.finished_at_s),
        "assessment": row.assessment.value if row.assessment else None,
        "region": row.region,
        "max_fracture_probability": row.max_fracture_probability,
        "reasons": [reason.to_json() for reason in row.reasons],
        "status_url": link("api.study", study_id=row.study_id),
        "page_url": link("pages.study", study_id=row.study_id),
    }


def study_accepted(study: Study) -> dict[str, Any]:
    """What the sender of a study is told."""
    return {
        "study_id": study.study_id,
        "batch_id": study.batch_id,
        "state": WorkState.OPEN.value,
        "image_count": len(study.images),
        "status_url": link("api.study", study_id=study.study_id),
        "page_url": link("pages.study", study_id=study.study_id),
    }


def batch_accepted(batch_id: str, upload_count: int) -> dict[str, Any]:
    """What the sender of a batch is told."""
    return {
        "batch_id": batch_id,
        "upload_count": upload_count,
        "status_url": link("api.batch", batch_id=batch_id),
        "page_url": link("pages.batch", batch_id=batch_id),
    }


def study_document(row: StudyRow) -> dict[str, Any]:
    """One study whole: the summary and, when it is final, its result and where its files are."""
    result = read_result(row)
    return {
        **study_summary(row),
        "revision": _revision_document(row),
        "result": result,
        "artifacts": artifact_links(row, result),
    }


def _revision_document(row: StudyRow) -> dict[str, Any] | None:
    """Its place among the studies of its examination; ``None`` if its images did not come in one by one."""
    place = web().ports.ledger.revision_of(row.study_id, site=row.site)
    return place and {
        "number": place.number,
        "supersedes": place.supersedes,
        "superseded_by": place.superseded_by,
    }


def read_result(row: StudyRow) -> dict[str, Any] | None:
    """``result.json`` of a final study; ``None`` while it is open, or if the store has lost it."""
    if row.state is WorkState.OPEN:
        return None
    try:
        data = json.loads(web().ports.store.get(keys.result_json(site(), row.study_id)))
    except KeyError:
        return None
    return data if isinstance(data, dict) else None


def artifact_links(row: StudyRow, result: dict[str, Any] | None) -> dict[str, Any] | None:
    """Where the files of a final study are; ``None`` for each that was not made."""
    if result is None:
        return None
    study_id = row.study_id
    has_report = web().ports.store.size_bytes(keys.report_pdf(site(), study_id)) is not None
    return {
        "report_pdf": link("api.report", study_id=study_id) if has_report else None,
        "result_json": link("api.result", study_id=study_id),
        "dicom": [
            {name: entry[name] for name in ("name", "kind", "number")}
            | {"url": link("api.dicom_object", study_id=study_id, name=entry["name"])}
            for entry in result.get("dicom_objects", ())
        ],
        "dicom_zip": link("api.dicom_zip", study_id=study_id) if result.get("dicom_objects") else None,
        "images": [
            {"number": image["number"]}
            | {
                kind: link("api.picture", study_id=study_id, number=image["number"], picture=name)
                if kind in image["artifacts"]
                else None
                for kind, name in PICTURES.items()
            }
            for image in result["images"]
        ],
    }


def batch_document(row: BatchRow) -> dict[str, Any]:
    """A batch with the counts of its studies by state."""
    return {
        "batch_id": row.batch_id,
        "label": row.label,
        "state": row.state.value,
        "accepted_at": moment(row.accepted_at_s),
        "upload_count": row.upload_count,
        "counts": {state.value: row.counts.get(state, 0) for state in WorkState},
        "rejected_uploads": [{"file": name, "reason": reason.to_json()} for name, reason in row.rejected_uploads],
        "skipped": _skipped(row.skipped),
        "reasons": [reason.to_json() for reason in row.reasons],
        "finished": row.finished,
        "status_url": link("api.batch", batch_id=row.batch_id),
        "studies_url": link("api.batch_studies", batch_id=row.batch_id),
        "exports": {
            name: link(f"api.batch_{name}", batch_id=row.batch_id)
            for name in ("results_csv", "results_ndjson", "reports_zip")
        },
        "page_url": link("pages.batch", batch_id=row.batch_id),
    }


def _skipped(counts: dict[str, int]) -> dict[str, Any]:
    """Files that are no images, by kind."""
    return {
        "count": sum(counts.values()),
        "kinds": [{"kind": kind, "count": count} for kind, count in counts.items()],
        "sentence": skipped_sentence(counts.items()) if counts else "",
    }


def page_document(page: Page, endpoint: str, **values: object) -> dict[str, Any]:
    """A slice of a list and where the next one is."""
    following = link(endpoint, **values, cursor=page.next_cursor) if page.next_cursor else None
    return {
        "studies": [study_summary(row) for row in page.rows],
        "next_cursor": page.next_cursor,
        "next": following,
    }


@dataclass(frozen=True, slots=True)
class Status:
    """Where something stands, as JSON, with what polling needs."""

    body: str
    is_open: bool
    accepted_at_s: float

    @property
    def tag(self) -> str:
        """Changes when anything of it does."""
        return hashlib.sha256(self.body.encode()).hexdigest()[:32]

    def is_news(self) -> bool:
        """Whether whoever waits should hear it: it is final, or differs from what they have (``If-None-Match``)."""
        return not self.is_open or (bool(request.if_none_match) and self.tag not in request.if_none_match)

    def answer(self) -> Response:
        """With an entity tag, 304 if nothing is new, Retry-After while it is open."""
        response = Response(self.body, mimetype="application/json")
        response.set_etag(self.tag)
        if self.is_open:
            response.headers["Retry-After"] = str(retry_after_s(self.accepted_at_s))
        return response.make_conditional(request)


def study_status(row: StudyRow) -> Status:
    """Where a study stands."""
    return Status(json.dumps(study_document(row)), row.state is WorkState.OPEN, row.accepted_at_s)


def batch_status(row: BatchRow) -> Status:
    """Where a batch stands."""
    return Status(json.dumps(batch_document(row)), not row.finished, row.accepted_at_s)


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """A reader's word."""
    return {
        "at": moment(verdict.at_s),
        "reader": verdict.reader,
        "agreement": verdict.agreement.value,
        "assessment": verdict.assessment.value if verdict.assessment else None,
        "region": verdict.region,
        "comment": verdict.comment,
    }


def delivery_document(delivery: Delivery, objects: Sequence[DeliveredObject]) -> dict[str, Any]:
    """News of a finished study that was not taken yet, and what became of each of its objects if it has such."""
    return {
        "delivery_id": delivery.delivery_id,
        "study_id": delivery.study_id,
        "channel": delivery.channel.value,
        "destination": delivery.destination,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "created_at": moment(delivery.created_at_s),
        "due_at": moment(delivery.due_at_s),
        "last_error": delivery.last_error,
        "objects": [{"name": each.name, "state": each.state.value, "detail": each.detail} for each in objects],
    }


def retry_after_s(accepted_at_s: float) -> int:
    """When to ask again about open work."""
    age = max(0.0, web().ports.clock() - accepted_at_s)
    return next(wait for limit, wait in _PATIENCE_S if age < limit)
