"""For those who watch over the service: is the process up, and can it do its work?"""

from __future__ import annotations

import logging

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from fractureai.domain import keys
from fractureai.errors import TransientFailure
from fractureai.web.context import web

log = logging.getLogger(__name__)

bp = Blueprint("health", __name__)

_NOBODY = "0" * 32


@bp.get("/healthz")
def healthz() -> ResponseReturnValue:
    """The process answers."""
    return jsonify(status="ok")


@bp.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Report whether store and ledger answer, so that work can be accepted, and under `serve` its workers run.

    The queue may be away: accepted work waits for it.
    """
    checks = {"store": _store_answers, "ledger": _ledger_answers}
    found: dict[str, str] = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = "ok"
        except TransientFailure as failure:
            log.warning("not ready: %s", failure)
            found[name] = failure.code
    found |= web().ports.processes()
    ready = all(state == "ok" for state in found.values())
    return jsonify(status="ok" if ready else "unavailable", **found), 200 if ready else 503


def _store_answers() -> None:
    web().ports.store.size_bytes(keys.batch_json(web().settings.site, _NOBODY))


def _ledger_answers() -> None:
    web().ports.ledger.open_count()
