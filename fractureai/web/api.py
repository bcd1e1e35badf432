"""Version 1 of the HTTP API: studies, batches, models. ``fractureai.web.openapi`` describes it; a test holds the two
together.
"""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, jsonify, request

from fractureai.domain.records import StudyFilter, WorklistOrder
from fractureai.web import accept, files, parameters
from fractureai.web.api_blueprint import bp
from fractureai.web.context import link, site, web
from fractureai.web.keyed import AlreadyAnswered
from fractureai.web.openapi import document
from fractureai.web.openapi_security import scopes_of
from fractureai.web.problems import Problem
from fractureai.web.representations import (
    Status,
    batch_accepted,
    batch_status,
    page_document,
    study_accepted,
    study_status,
    study_summary,
)
from fractureai.web.waiting import wait_for

Accepted = tuple[Response, int, dict[str, str]]


def accepted(body: dict[str, Any]) -> Accepted:
    """202, and where to ask."""
    return jsonify(body), 202, {"Location": body["status_url"], "Retry-After": "1"}


@bp.post("/studies")
def create_study() -> Accepted:
    """Accept files as the views of one study."""
    try:
        return accepted(study_accepted(accept.study_from_form(request, "images", answer=study_accepted)))
    except AlreadyAnswered as earlier:
        return accepted(earlier.answer)


@bp.post("/batches")
def create_batch() -> Accepted:
    """Accept files and archives as a batch."""
    try:
        batch = accept.batch_from_form(
            request, "files", answer=lambda batch: batch_accepted(batch.batch_id, len(batch.uploads))
        )
        return accepted(batch_accepted(batch.batch_id, len(batch.uploads)))
    except AlreadyAnswered as earlier:
        return accepted(earlier.answer)


@bp.get("/studies")
def studies() -> dict[str, Any]:
    """The worklist."""
    return _page("api.studies", parameters.study_filter(), parameters.worklist_order())


@bp.get("/studies/<id:study_id>")
def study(study_id: str) -> Response:
    """One study: where it stands and, when it is final, what was found."""

    def look() -> Status:
        row = web().ports.ledger.study(study_id, site=site())
        if row is None:
            raise Problem("not_found")
        return study_status(row)

    return wait_for(look, Status.is_news, wait_s=parameters.wait_s()).answer()


@bp.post("/studies/<id:study_id>/retry")
def retry(study_id: str) -> Accepted:
    """Try a failed study again."""
    return accepted(study_summary(accept.retry_study(study_id)))


@bp.get("/studies/<id:study_id>/report.pdf")
def report(study_id: str) -> Response:
    """The report for people."""
    return files.send_report(study_id)


@bp.get("/studies/<id:study_id>/result.json")
def result(study_id: str) -> Response:
    """The result for machines."""
    return files.send_result(study_id)


@bp.get("/studies/<id:study_id>/images/<int:number>/<picture>")
def picture(study_id: str, number: int, picture: str) -> Response:
    """A picture of one image."""
    return files.send_picture(study_id, number, picture)


@bp.get("/batches/<id:batch_id>")
def batch(batch_id: str) -> Response:
    """One batch: counts, and what was left out."""

    def look() -> Status:
        row = web().ports.ledger.batch(batch_id, site=site())
        if row is None:
            raise Problem("not_found")
        return batch_status(row)

    return wait_for(look, Status.is_news, wait_s=parameters.wait_s()).answer()


@bp.get("/batches/<id:batch_id>/studies")
def batch_studies(batch_id: str) -> dict[str, Any]:
    """The studies of one batch."""
    if web().ports.ledger.batch(batch_id, site=site()) is None:
        raise Problem("not_found")
    which = parameters.study_filter(batch_id=batch_id)
    return _page("api.batch_studies", which, parameters.worklist_order(), batch_id=batch_id)


@bp.post("/batches/<id:batch_id>/retry")
def retry_batch(batch_id: str) -> Accepted:
    """Try everything of a batch that failed again."""
    return accepted({"reopened": accept.retry_batch(batch_id), "status_url": link("api.batch", batch_id=batch_id)})


@bp.get("/models")
def models() -> dict[str, Any]:
    """Every model card, whole."""
    cards = web().ports.models.cards()
    return {"models": [{**identity.to_json(), "card": card.model_dump(mode="json")} for card, identity in cards]}


@bp.get("/openapi.json")
def openapi() -> dict[str, Any]:
    """The API, described."""
    scopes = None if web().ports.access is None else scopes_of(current_app.url_map.iter_rules())
    return document(web().settings.software_version, scopes)


def _page(endpoint: str, which: StudyFilter, order: WorklistOrder, **values: str) -> dict[str, Any]:
    limit = parameters.page_limit()
    try:
        page = web().ports.ledger.studies(
            site=site(), which=which, order=order, cursor=request.args.get("cursor"), limit=limit
        )
    except ValueError:
        raise Problem("bad_parameter", "“cursor” is not one this service gave out for this order.") from None
    return page_document(page, endpoint, **(parameters.filter_values() | values), limit=limit)
