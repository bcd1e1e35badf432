"""The pages for people, rendered here; small scripts make them live, and every page works without them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from fractureai.domain.card import in_a_hundred
from fractureai.domain.contents import skipped_sentence
from fractureai.domain.records import Page, WorklistOrder
from fractureai.domain.result import DISCLAIMER
from fractureai.domain.sizes import binary_size
from fractureai.domain.study import Assessment, WorkState
from fractureai.errors import BrokenDeployment
from fractureai.web import accept, verdicts, words
from fractureai.web.cards import block_of
from fractureai.web.context import site, web
from fractureai.web.data_flows import sentences
from fractureai.web.problems import Problem
from fractureai.web.representations import artifact_links, batch_status, moment, read_result, study_status
from fractureai.web.scale import scale_of
from fractureai.web.search_words import MAX_LENGTH, opened, sealed
from fractureai.web.worklist import ORDERS, OUTCOMES, Asked, asked_by

log = logging.getLogger(__name__)

bp = Blueprint("pages", __name__)

_PAGE_SIZE = 50


@bp.app_context_processor
def _everywhere() -> dict[str, Any]:
    """What every template may use."""
    return {
        "asset": asset,
        "csv_link": csv_link,
        "disclaimer": DISCLAIMER,
        "software_version": web().settings.software_version,
        "limits": web().settings,
        "moment": moment,
        "binary_size": binary_size,
        "data_flows": sentences(web().settings.data_flows, has_sign_in=web().ports.access is not None),
        "skipped_sentence": skipped_sentence,
        "words": words,
        "verdicts": verdicts,
        "list_link": list_link,
        "ORDERS": ORDERS,
        "OUTCOMES": OUTCOMES,
        "Assessment": Assessment,
        "WorkState": WorkState,
    }


def asset(name: str) -> str:
    """The address of a static file."""
    return url_for("static", filename=name)


def list_link(asked: Asked, cursor: str | None = None, **changes: Any) -> str:
    """The address of the list that is shown, asked something else."""
    here = request.view_args or {}
    values = asked.address(**changes, **({"batch_id": ""} if here else {})) | here
    return url_for(request.endpoint or "", **values, **({"cursor": cursor} if cursor else {}))


def csv_link(asked: Asked) -> str:
    """The address of everything that is asked for, as a table."""
    which = asked.which
    values = {
        "state": which.state,
        "assessment": which.assessment,
        "region": which.region,
        "batch_id": which.batch_id,
        "from": moment(which.accepted_from_s),
        "to": moment(which.accepted_to_s),
        "search": asked.search,
        "order": asked.order,
    }
    return url_for("api.studies_csv", **{name: str(value) for name, value in values.items() if value})


@bp.get("/")
def home() -> str:
    """What this is, and how it works."""
    return render_template("home.html", regions=known_regions())


@bp.get("/features")
def features() -> str:
    """What it can do."""
    return render_template(
        "features.html",
        regions=known_regions(),
        address=web().settings.public_base_url or request.host_url.rstrip("/"),
        asks_for_key=web().ports.access is not None,
    )


@bp.get("/faq")
def faq() -> str:
    """Questions, and what it cannot do."""
    return render_template("faq.html", regions=known_regions(), attempts=web().ports.policy.max_attempts)


@bp.get("/models")
def models() -> str:
    """About the models, from their cards alone."""
    cards = [
        {
            "card": card,
            "identity": identity,
            "metrics": block_of("", card.metrics),
            "training": block_of("", card.training),
            "hundred": in_a_hundred(card.metrics.get("test", {})),
        }
        for card, identity in web().ports.models.cards()
    ]
    return render_template("models.html", cards=cards)


@bp.get("/predict")
def predict() -> str:
    """Where radiographs are sent."""
    return render_template("predict.html", regions=known_regions())


@bp.post("/predict/study")
def predict_study() -> ResponseReturnValue:
    """The form, sent by a browser without scripts: the files are views of one study."""
    study = accept.study_from_form(request, "files")
    return redirect(url_for("pages.study", study_id=study.study_id), 303)


@bp.post("/predict/batch")
def predict_batch() -> ResponseReturnValue:
    """The same, as a batch."""
    batch = accept.batch_from_form(request, "files")
    return redirect(url_for("pages.batch", batch_id=batch.batch_id), 303)


@bp.get("/studies/<id:study_id>")
def study(study_id: str) -> str:
    """One study: its progress, then its result."""
    ledger = web().ports.ledger
    row = ledger.study(study_id, site=site())
    if row is None:
        raise Problem("not_found")
    result = read_result(row)
    return render_template(
        "study.html",
        row=row,
        result=result,
        artifacts=artifact_links(row, result),
        scales={image["number"]: scale_of(image) for image in result["images"]} if result else {},
        history=ledger.history(study_id, site=site()),
        revision=ledger.revision_of(study_id, site=site()),
        said=ledger.verdicts(study_id, site=site()),
        regions=known_regions(),
        live_tag=study_status(row).tag,
    )


@bp.post("/studies/<id:study_id>/retry")
def retry(study_id: str) -> ResponseReturnValue:
    """Try a failed study again, and watch it."""
    accept.retry_study(study_id)
    return redirect(url_for("pages.study", study_id=study_id), 303)


@bp.post("/studies/<id:study_id>/verdict")
def verdict(study_id: str) -> ResponseReturnValue:
    """Keep a reader's own word, and show it."""
    given = verdicts.verdict_from(request.form, study_id)
    if not web().ports.ledger.add_verdict(given, site=site()):
        raise Problem("not_found")
    return redirect(url_for("pages.study", study_id=study_id, _anchor="reading"), 303)


@bp.get("/batches/<id:batch_id>")
def batch(batch_id: str) -> str:
    """One batch: counts, what was left out, and its studies."""
    ledger = web().ports.ledger
    row = ledger.batch(batch_id, site=site())
    if row is None:
        sending = ledger.open_upload(batch_id, site=site())
        if sending is None:
            raise Problem("not_found")
        return render_template("upload_open.html", sending=sending)
    asked = replace(asked_by(request.args, WorklistOrder.MOST_SUSPICIOUS, opened=opened), batch_id=batch_id)
    return render_template("batch.html", row=row, page=_page(asked), asked=asked, live_tag=batch_status(row).tag)


@bp.post("/batches/<id:batch_id>/retry")
def retry_batch(batch_id: str) -> ResponseReturnValue:
    """Try all that failed in a batch again, and watch it."""
    accept.retry_batch(batch_id)
    return redirect(url_for("pages.batch", batch_id=batch_id), 303)


@bp.get("/worklist")
def worklist() -> str:
    """All studies that fit what is asked."""
    asked = asked_by(request.args, opened=opened)
    batch = web().ports.ledger.batch(asked.batch_id, site=site()) if asked.batch_id else None
    return render_template("worklist.html", page=_page(asked), asked=asked, batch=batch, regions=known_regions())


@bp.post("/worklist")
def search() -> ResponseReturnValue:
    """Take words that are searched for from the form, and lead to where they stand sealed."""
    words_typed = request.form.get("q", "").strip()[:MAX_LENGTH]
    asked = replace(asked_by(request.form), search=sealed(words_typed))
    return redirect(url_for("pages.worklist", **asked.address()), 303)


def known_regions() -> list[str]:
    """The regions there are models for, by their cards; a broken model must not take the pages with it."""
    try:
        return sorted(card.region for card, _ in web().ports.models.cards() if card.region)
    except BrokenDeployment:
        log.exception("the models cannot be listed")
        return []


def _page(asked: Asked) -> Page:
    cursor = request.args.get("cursor")
    try:
        return web().ports.ledger.studies(
            site=site(), which=asked.which, order=asked.order, cursor=cursor, limit=_PAGE_SIZE
        )
    except ValueError:
        raise Problem("bad_parameter", "The address of this page is not whole.") from None
