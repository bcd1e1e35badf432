"""The page of results and messages that have not reached those who were to have them."""

from __future__ import annotations

from flask import redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from fractureai.web.context import site, web
from fractureai.web.pages import bp
from fractureai.web.problems import Problem

_MOST = 200


@bp.get("/deliveries")
def deliveries() -> str:
    """What was not taken, the newest first."""
    rows = web().ports.ledger.undelivered(site=site(), limit=_MOST)
    return render_template("deliveries.html", rows=rows, most=_MOST)


@bp.post("/deliveries/<delivery_id>/retry")
def retry_delivery(delivery_id: str) -> ResponseReturnValue:
    """Have one that was given up tried again."""
    ports = web().ports
    if not ports.ledger.retry_delivery(delivery_id, site=site(), now_s=ports.clock()):
        raise Problem("not_failed")
    return redirect(url_for("pages.deliveries"), 303)
