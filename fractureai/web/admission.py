"""Who asks: found once a request, before any code of a route runs.

First who it is (401), then whether they may (403), then whether a page of ours sent it (403). What belongs to another
site is looked for only there and not found (404), as if it were not there at all.
"""

from __future__ import annotations

import math
from ipaddress import ip_address

from flask import Flask, Response, g, request

from fractureai.domain.access import Gate, Kind, Principal, Scope
from fractureai.domain.audit import Act, Outcome
from fractureai.web import audit
from fractureai.web.context import web
from fractureai.web.doors import Door, door_of
from fractureai.web.problems import API_PREFIX, Problem, respond
from fractureai.web.session import CSRF_FIELD, CSRF_HEADER, check_csrf, csrf_token, session_token
from fractureai.web.sign_in import ask_to_sign_in
from fractureai.web.upload import drain

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Their forms are files that are streamed to the store; the token is looked at when the form has been read.
_STREAMED = {"pages.predict_study", "pages.predict_batch"}
_UNCOUNTED = {"static", "health.healthz", "health.readyz", "metrics"}
_REALM = 'Bearer realm="FractureAI"'


def register(app: Flask) -> None:
    """Ask everybody who comes to ``app``."""
    app.before_request(_admit)
    app.context_processor(lambda: {"csrf_token": csrf_token, "visitor": visitor()})


def visitor() -> Principal | None:
    """Who is signed in, for what pages show; ``None`` where nobody is asked or known."""
    who: Principal | None = g.get("principal")
    return None if who is None or who.kind is Kind.LOCAL else who


def _admit() -> Response | None:
    if request.endpoint is None:
        return None  # there is nothing there, whoever asks
    door, gate = door_of(request.endpoint), web().ports.access
    if request.endpoint in _UNCOUNTED:
        return None
    if gate is None:
        return _admit_locally()
    if door.scope is None:
        _by_cookie(gate)
        return _over(gate, "address", audit.address())
    who, tried = _who(gate)
    if who is None:
        return _refuse(gate, tried=tried)
    g.principal = who
    over = _over(gate, "key", who.ident)
    if over is not None:
        return over
    if not _may(who, door):
        return _forbid(door.scope)
    if request.method not in _SAFE_METHODS and request.endpoint not in _STREAMED:
        _check_sender()
    return None


def _admit_locally() -> Response | None:
    """A service that asks nobody answers its own machine, however it came to be reachable from elsewhere."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    came_by_proxy = forwarded and not web().settings.proxies
    if came_by_proxy or not _is_loopback(request.remote_addr):
        drain(request)
        return respond(Problem("this_machine_only"))
    g.principal = Principal(Kind.LOCAL, "local", "this machine", web().settings.site, frozenset(Scope))
    return None


def _is_loopback(address: str | None) -> bool:
    # No address: a socket of this machine.
    return not address or ip_address(address.split("%")[0]).is_loopback


def _who(gate: Gate) -> tuple[Principal | None, bool]:
    """Who asks, and whether they showed anything."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        found = gate.by_key(text.strip(), now_s=web().ports.clock()) if scheme.lower() == "bearer" else None
        return found, True
    return _by_cookie(gate), bool(session_token())


def _by_cookie(gate: Gate) -> Principal | None:
    token = session_token()
    found = gate.by_session(token, now_s=web().ports.clock()) if token else None
    if found is not None:
        g.principal, g.session_token = found, token
    return found


def _may(who: Principal, door: Door) -> bool:
    if door.scope is None or not who.may(door.scope):
        return False
    return not door.everywhere or who.site == web().settings.site


def _refuse(gate: Gate, *, tried: bool) -> Response:
    drain(request)
    over = _over(gate, "refused" if tried else "address", audit.address())
    if over is not None:
        return over
    if tried and "Authorization" in request.headers:
        audit.note_refusal("a key that opens nothing")
    challenge = _REALM + (', error="invalid_token"' if tried else "")
    problem = Problem("unauthenticated")
    response = respond(problem) if request.path.startswith(API_PREFIX) else ask_to_sign_in(problem)
    response.headers["WWW-Authenticate"] = challenge
    return response


def _forbid(scope: Scope | None) -> Response:
    drain(request)
    audit.note(Act.REFUSED, outcome=Outcome.REFUSED, detail=f"not allowed: {request.endpoint}")
    challenge = f'{_REALM}, error="insufficient_scope", scope="{scope or Scope.ADMIN}"'
    return respond(
        Problem("not_allowed", f"It takes the scope “{scope or Scope.ADMIN}”."), {"WWW-Authenticate": challenge}
    )


def _over(gate: Gate, budget: str, who: str) -> Response | None:
    wait_s = gate.over_limit(budget, [who])
    if wait_s is None:
        return None
    drain(request)
    response = respond(Problem("too_many_requests"))
    response.headers["Retry-After"] = str(math.ceil(wait_s))
    return response


def _check_sender() -> None:
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.mimetype == "application/x-www-form-urlencoded":
        given = request.form.get(CSRF_FIELD)
    try:
        check_csrf(given)
    except Problem:
        drain(request)
        raise
