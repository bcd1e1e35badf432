"""Errors as answers: problem+json (RFC 9457) for machines, a calm page for people, from one table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json, make_response, render_template, request
from werkzeug.exceptions import BadHost, HTTPException, SecurityError

from fractureai.domain.reasons import REASONS
from fractureai.errors import BrokenDeployment, RejectedInput, TransientFailure

log = logging.getLogger(__name__)

# Open work goes down within seconds; a full disk waits for a person.
_RETRY_AFTER_S = {
    HTTPStatus.TOO_MANY_REQUESTS: 5,
    HTTPStatus.SERVICE_UNAVAILABLE: 5,
    HTTPStatus.INSUFFICIENT_STORAGE: 60,
}
HOST_ERRORS = (SecurityError, BadHost)
"""A ``Host`` that is not trusted, or that no host can have."""

API_PREFIX = ("/api/", "/dicomweb/")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its status, its title and the sentence for a person."""

    status: int
    title: str
    sentence: str


def _of_reason(status: int, title: str, code: str) -> Kind:
    return Kind(status, title, REASONS[code])


KINDS: Mapping[str, Kind] = {
    "bad_request": Kind(400, "The request is malformed", "The request could not be understood as it was sent."),
    "bad_parameter": Kind(400, "A parameter is not valid", "A parameter of the request has a value that is not known."),
    "upload_cut_off": Kind(400, "The upload was cut off", "The upload ended before it was complete. Send it again."),
    "unexpected_field": Kind(
        400, "Unexpected form field", "A file came in a form field that this address does not read."
    ),
    "bad_receipt": Kind(
        400, "A receipt is not valid", "A receipt of an uploaded file is not one this upload gave out."
    ),
    "cross_site": Kind(403, "Sent from another site", "The request came from a page of another site and was refused."),
    "unauthenticated": Kind(
        401, "Who are you?", "This address needs a key that is valid (“Authorization: Bearer …”) or a sign-in."
    ),
    "not_allowed": Kind(403, "Not allowed", "Your key or your sign-in does not allow this."),
    "csrf": Kind(
        403, "Sent without a token", "The page that sent this is too old, or not ours. Load it again and repeat this."
    ),
    "not_private": Kind(
        403, "Not over this line", "Passwords are taken by https only. Open this service by its https address."
    ),
    "this_machine_only": Kind(
        403,
        "Only from this machine",
        "This service asks nobody who they are, so it answers its own machine only. To open it, see docs/access.md.",
    ),
    "not_found": Kind(404, "Not found", "There is nothing at this address, or it belongs to somebody else."),
    "not_there_yet": Kind(404, "Not there", "The study has no such file: not yet, or it could not be made."),
    "method_not_allowed": Kind(405, "Method not allowed", "This address does not take that kind of request."),
    "not_acceptable": Kind(406, "Not a form it can be given in", "The answer cannot be given in what Accept asks for."),
    "already_complete": Kind(409, "Already complete", "This upload was completed before; begin a new one."),
    "not_failed": Kind(409, "Nothing to try again", "Only what failed can be tried again."),
    "request_too_large": Kind(
        413, "The request is too large", "The request is larger than this service accepts. Send fewer files at once."
    ),
    "too_many_bytes": _of_reason(413, "A file is too large", "too_many_bytes"),
    "too_many_files": _of_reason(413, "Too many files", "too_many_files"),
    "unsupported_media_type": Kind(
        415, "Unsupported content type", "This address does not take what the Content-Type of the request says it is."
    ),
    "archive_not_here": Kind(
        415, "An archive is not a study", "A ZIP archive may hold many studies. Send it to /api/v1/batches."
    ),
    "no_images": _of_reason(422, "Nothing to read", "no_images"),
    "key_reused": Kind(
        422, "The key was used before", "This Idempotency-Key came with another request before. Use a new key."
    ),
    "too_many_requests": Kind(
        429, "Too many requests", "There were more requests than the service takes from one sender. Wait, then go on."
    ),
    "too_many_attempts": Kind(
        429, "Too many attempts", "There were too many attempts to sign in. Try again in a quarter of an hour."
    ),
    "busy": Kind(
        429, "The service is busy", "There is as much work waiting as this service takes on. Try again in a while."
    ),
    "internal_error": Kind(
        500, "Something went wrong here", "The request met an unexpected error. It is in the log of the service."
    ),
    "queue_unavailable": _of_reason(503, "The queue is away", "queue_unavailable"),
    "provider_unavailable": Kind(
        503, "The sign-in is away", "The provider that people sign in at does not answer. Try again in a while."
    ),
    "store_unavailable": _of_reason(503, "The image store is away", "store_unavailable"),
    "store_full": _of_reason(507, "The image store is full", "store_full"),
    "ledger_unavailable": _of_reason(503, "The database is away", "ledger_unavailable"),
}

_BY_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large", 415: "unsupported_media_type"}


class Problem(Exception):
    """Ends the request with an answer of :data:`KINDS`.

    Parameters
    ----------
    code:
        A key of :data:`KINDS`.
    detail:
        The particular of the case; it follows the kind's sentence.
    members:
        Further members of the JSON (RFC 9457, section 3.2), such as the ``file`` concerned.
    """

    def __init__(self, code: str, detail: str = "", **members: Any) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.members = members

    @property
    def kind(self) -> Kind:
        """What kind of problem it is."""
        return KINDS[self.code]

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        return f"{self.kind.sentence} {self.detail}".strip()

    def to_json(self) -> dict[str, Any]:
        """The problem details object."""
        return {
            "type": f"urn:fractureai:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.sentence,
            "code": self.code,
            **self.members,
        }


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a problem, for whoever asked."""
    if request.path.startswith(API_PREFIX):
        response = Response(json.dumps(problem.to_json()), problem.kind.status, mimetype="application/problem+json")
    else:
        response = make_response(render_template("error.html", problem=problem), problem.kind.status)
    response.headers.extend(headers or {})
    wait_s = _RETRY_AFTER_S.get(problem.kind.status)
    if wait_s is not None:
        response.headers["Retry-After"] = str(wait_s)
    return response


def _on_transient(error: TransientFailure) -> Response:
    log.warning("%s: %s", request.endpoint, error)
    return respond(Problem(error.code if error.code in KINDS else "internal_error"))


def _on_rejected(error: RejectedInput) -> Response:
    if error.code in KINDS:
        return respond(Problem(error.code, error.detail))
    return respond(Problem("bad_request", f"{REASONS[error.code]} {error.detail}".strip()))


def _on_http(error: HTTPException) -> Response:
    if isinstance(error, HOST_ERRORS):
        # No address of ours can be made for such a Host, so there is no page either.
        return Response("This service does not answer to that name.\n", 400, mimetype="text/plain")
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return respond(Problem("internal_error"))
    allowed = {"Allow": ", ".join(sorted(error.valid_methods))} if getattr(error, "valid_methods", None) else {}
    return respond(Problem(_BY_STATUS.get(error.code, "bad_request")), allowed)


def _on_broken(error: BrokenDeployment) -> Response:
    log.error("%s: %s", request.endpoint, error)
    return respond(Problem("internal_error"))


def _on_unexpected(_error: Exception) -> Response:
    # The last resort: whoever asked still gets an answer in the form they can read, and the log gets the trace.
    log.exception("unexpected error in %s", request.endpoint)
    return respond(Problem("internal_error"))


def register(app: Flask) -> None:
    """Answer every error of ``app`` by the table."""
    app.register_error_handler(Problem, respond)
    app.register_error_handler(TransientFailure, _on_transient)
    app.register_error_handler(RejectedInput, _on_rejected)
    app.register_error_handler(BrokenDeployment, _on_broken)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_unexpected)
