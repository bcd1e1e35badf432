"""The API of what comes after the work: everything finished since a cursor, searches, history, readers' verdicts,
deliveries.
"""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request

from fractureai.domain.names import safe_text
from fractureai.domain.records import Agreement, FinishedPage, Verdict
from fractureai.domain.study import Assessment
from fractureai.web import parameters, search_words
from fractureai.web.api_blueprint import bp
from fractureai.web.api_uploads import json_object
from fractureai.web.context import link, site, web
from fractureai.web.problems import Problem
from fractureai.web.representations import delivery_document, moment, study_summary, verdict_document
from fractureai.web.waiting import wait_for

_MAX_READER, _MAX_COMMENT, _MAX_REGION = 100, 2000, 32
_MOST_DELIVERIES = 200


@bp.get("/results")
def results() -> Response:
    """Everything that became final after a cursor, in that order."""
    limit = parameters.page_limit()

    def look() -> FinishedPage:
        return web().ports.ledger.finished_since(site=site(), cursor=request.args.get("after", ""), limit=limit)

    try:
        page = wait_for(look, lambda page: bool(page.rows), wait_s=parameters.wait_s())
    except ValueError:
        raise Problem("bad_parameter", "“after” is not a cursor this service gave out.") from None
    response = jsonify(
        studies=[study_summary(row) for row in page.rows],
        next_cursor=page.next_cursor,
        next=link("api.results", after=page.next_cursor, limit=limit),
        more=page.more,
    )
    if not page.rows:
        response.headers["Retry-After"] = "5"
    return response


@bp.post("/searches")
def search() -> dict[str, Any]:
    """Words that are searched for, sealed, so that they can stand in an address."""
    found = search_words.sealed(parameters.checked_text("q", json_object().get("q"), search_words.MAX_LENGTH))
    return {
        "search": found,
        "studies_url": link("api.studies", search=found),
        "csv_url": link("api.studies_csv", search=found),
    }


@bp.get("/studies/<id:study_id>/history")
def history(study_id: str) -> dict[str, Any]:
    """What was done when."""
    _check_study(study_id)
    events = web().ports.ledger.history(study_id, site=site())
    return {"events": [{"at": moment(event.at_s), "what": event.what, "detail": event.detail} for event in events]}


@bp.get("/studies/<id:study_id>/verdicts")
def verdicts(study_id: str) -> dict[str, Any]:
    """What readers said of a study."""
    _check_study(study_id)
    return {"verdicts": [verdict_document(entry) for entry in web().ports.ledger.verdicts(study_id, site=site())]}


@bp.post("/studies/<id:study_id>/verdicts")
def add_verdict(study_id: str) -> tuple[Response, int]:
    """Keep a reader's word."""
    verdict = verdict_of(study_id, json_object())
    if not web().ports.ledger.add_verdict(verdict, site=site()):
        raise Problem("not_found")
    return jsonify(verdict_document(verdict)), 201


@bp.get("/deliveries")
def deliveries() -> dict[str, Any]:
    """News of finished studies that the receiver has not taken, the newest first."""
    ledger = web().ports.ledger
    rows = ledger.undelivered(site=site(), limit=_MOST_DELIVERIES)
    return {"deliveries": [delivery_document(row, ledger.delivered_objects(row.delivery_id)) for row in rows]}


@bp.post("/deliveries/<delivery_id>/retry")
def retry_delivery(delivery_id: str) -> tuple[Response, int]:
    """Try to deliver again what was given up."""
    ports = web().ports
    if not ports.ledger.retry_delivery(delivery_id, site=site(), now_s=ports.clock()):
        raise Problem("not_failed")
    return jsonify(delivery_id=delivery_id), 202


def verdict_of(study_id: str, body: dict[str, Any]) -> Verdict:
    """A reader's word as it was sent: ``agreement``, and if wanted ``assessment, region, reader, comment``."""
    try:
        agreement = Agreement(body.get("agreement", ""))
    except ValueError:
        raise Problem("bad_parameter", f"“agreement” is one of {', '.join(Agreement)}.") from None
    assessment = body.get("assessment") or None
    if assessment is not None and (not isinstance(assessment, str) or assessment not in set(Assessment)):
        raise Problem("bad_parameter", f"“assessment” is one of {', '.join(Assessment)}.")
    return Verdict(
        study_id=study_id,
        at_s=web().ports.clock(),
        reader=_words(body, "reader", _MAX_READER),
        agreement=agreement,
        assessment=Assessment(assessment) if assessment else None,
        region=_words(body, "region", _MAX_REGION) or None,
        comment=_words(body, "comment", _MAX_COMMENT),
    )


def _words(body: dict[str, Any], name: str, most: int) -> str:
    text = body.get(name) or ""
    if not isinstance(text, str) or len(text) > most:
        raise Problem("bad_parameter", f"“{name}” is text of at most {most} letters.")
    return "\n".join(safe_text(line, most) for line in text.splitlines())


def _check_study(study_id: str) -> None:
    if web().ports.ledger.study(study_id, site=site()) is None:
        raise Problem("not_found")
