"""Signing in and out: at a provider (OpenID Connect), or with an account of this installation."""

from __future__ import annotations

import hmac
import logging
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer

from fractureai.domain.access import Denied, Gate, Principal, SignInStart
from fractureai.domain.audit import Act
from fractureai.web import audit
from fractureai.web.context import web
from fractureai.web.problems import Problem, respond
from fractureai.web.session import (
    CSRF_FIELD,
    check_csrf,
    cookie_name,
    drop_cookie,
    is_https,
    session_token,
    set_cookie,
)

log = logging.getLogger(__name__)

bp = Blueprint("sign_in", __name__, url_prefix="/sign-in")

_START_COOKIE = "fractureai-start"
_START_S = 600
_MAX_NAME, _MAX_PASSWORD = 64, 256


@bp.get("")
def show() -> ResponseReturnValue:
    """The ways in."""
    _gate()
    return page(request.args.get("next", ""))


@bp.post("")
def by_password() -> ResponseReturnValue:
    """Sign in with name and password."""
    gate, onward = _gate(), local_path(request.form.get("next", ""))
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    if not _is_private():
        raise Problem("not_private")
    waits = (gate.over_limit("refused", [audit.address()]), gate.over_limit("account", [name.lower()]))
    if any(wait is not None for wait in waits):
        audit.note_refusal("too many attempts", claimed=name)
        raise Problem("too_many_attempts")
    try:
        who = gate.sign_in(name[:_MAX_NAME], password[:_MAX_PASSWORD], now_s=web().ports.clock())
    except Denied as denied:
        return _denied(denied, onward, claimed=name)
    return _signed_in(gate, who, onward)


@bp.get("/provider")
def at_provider() -> ResponseReturnValue:
    """Go to the provider. What must come back is kept in a cookie that is signed, short-lived, and read by us alone."""
    gate = _gate()
    if not gate.has_provider:
        raise Problem("not_found")
    start = gate.begin_sign_in(_return_address())
    kept = _signer().dumps([start.state, start.nonce, start.verifier, local_path(request.args.get("next", ""))])
    response = make_response(redirect(start.url, 303))
    set_cookie(response, str(kept), name=_START_COOKIE, max_age_s=_START_S)
    return response


@bp.get("/return")
def returned() -> ResponseReturnValue:
    """Back from the provider."""
    gate = _gate()
    if not gate.has_provider:
        raise Problem("not_found")
    try:
        kept = _signer().loads(request.cookies.get(cookie_name(_START_COOKIE), ""), max_age=_START_S)
    except BadSignature:
        return _denied(Denied("nobody began this sign-in here, or too long ago"), "")
    start, onward = SignInStart("", *kept[:3]), kept[3]
    given = request.args.get("state", "")
    if not hmac.compare_digest(start.state.encode(), given.encode()):
        return _denied(Denied("the state is of another sign-in"), onward)
    code = request.args.get("code", "")
    if not code:
        return _denied(Denied("the provider sent no code"), onward)
    try:
        who = gate.complete_sign_in(start, code=code, redirect_uri=_return_address(), now_s=web().ports.clock())
    except Denied as denied:
        return _denied(denied, onward)
    return _signed_in(gate, who, onward)


@bp.post("/out")
def out() -> ResponseReturnValue:
    """Sign out, here and for whoever copied the cookie."""
    gate, token = _gate(), session_token()
    if "principal" in g:
        check_csrf(request.form.get(CSRF_FIELD))
        gate.close_session(token)
        audit.note(Act.SIGN_OUT)
    response = make_response(redirect(url_for("pages.home"), 303))
    drop_cookie(response)
    # Back and forward must not show what was on the screen.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def page(onward: str, *, sentence: str = "", status: int = 200) -> Response:
    """The page with the ways in."""
    gate = web().ports.access
    shown = render_template(
        "sign_in.html", onward=local_path(onward), sentence=sentence, provider=gate is not None and gate.has_provider
    )
    return make_response(shown, status)


def local_path(text: str) -> str:
    """Where to go on to, if that is a path of ours; never another host."""
    parts = urlsplit(text)
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return text if is_ours and text.isprintable() and "\\" not in text and len(text) < 1000 else ""


def _gate() -> Gate:
    gate = web().ports.access
    if gate is None:
        raise Problem("not_found")
    return gate


def _signed_in(gate: Gate, who: Principal, onward: str) -> Response:
    # A new value at every sign-in: one that was planted in the browser before is worth nothing.
    earlier = session_token()
    if earlier:
        gate.close_session(earlier)
    g.principal = who
    audit.note(Act.SIGN_IN)
    response = make_response(redirect(onward or url_for("pages.home"), 303))
    set_cookie(response, gate.open_session(who, now_s=web().ports.clock()))
    drop_cookie(response, name=_START_COOKIE)
    return response


def _denied(denied: Denied, onward: str, *, claimed: str = "") -> Response:
    log.warning("sign-in refused: %s", denied.why)
    audit.note_refusal(denied.why, claimed=claimed)
    if claimed:
        return page(onward, sentence="That name and password do not open anything here.", status=401)
    return page(onward, sentence="The sign-in did not succeed. Begin again, or ask who runs this service.", status=401)


def _return_address() -> str:
    base = web().settings.public_base_url
    if base is None:
        base = request.host_url
    return base.rstrip("/") + url_for("sign_in.returned")


def _is_private() -> bool:
    """Whether nobody can read the password on its way."""
    address = request.remote_addr
    return is_https() or not address or ip_address(address.split("%")[0]).is_loopback


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(web().settings.secret_key, salt="fractureai.sign-in")


def ask_to_sign_in(problem: Problem) -> Response:
    """For a person who is not signed in: the ways in, with the way back."""
    if request.method != "GET":
        return respond(problem)
    return page(request.full_path.rstrip("?"), sentence="Sign in to see this page.", status=problem.kind.status)
