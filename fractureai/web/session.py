"""The cookie of a sign-in, and the token that shows that a form or a script of ours sent a request (CSRF).

The cookie's value is random and stands for a row of the ledger, so a sign-in can be ended from here. Under https the
cookie has the prefix ``__Host-``: browsers then keep it to this host, to https, and from being set by neighbours.
"""

from __future__ import annotations

import hmac

from flask import Response, g, request

from fractureai.web.context import web
from fractureai.web.problems import Problem

CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
_NAME = "fractureai"


def is_https() -> bool:
    """Whether the browser reaches us by https, maybe through a proxy that says so."""
    base = web().settings.public_base_url
    return request.is_secure or (base is not None and base.startswith("https://"))


def cookie_name(name: str = _NAME) -> str:
    """What a cookie is called here."""
    return f"__Host-{name}" if is_https() else name


def session_token() -> str:
    """The value of the cookie; ``""`` without one."""
    return request.cookies.get(cookie_name(), "")


def set_cookie(response: Response, value: str, *, name: str = _NAME, max_age_s: int | None = None) -> None:
    """Give the browser a cookie that no script reads and no other site sends along with more than a plain link."""
    response.set_cookie(
        cookie_name(name), value, max_age=max_age_s, path="/", secure=is_https(), httponly=True, samesite="Lax"
    )


def drop_cookie(response: Response, *, name: str = _NAME) -> None:
    """Take it away again."""
    response.delete_cookie(cookie_name(name), path="/", secure=is_https(), httponly=True, samesite="Lax")


def csrf_token() -> str:
    """What forms and scripts of this sign-in send along; ``""`` where nobody is signed in by cookie."""
    token = g.get("session_token")
    return hmac.digest(web().settings.secret_key, b"csrf:" + token.encode(), "sha256").hex() if token else ""


def check_csrf(given: str | None) -> None:
    """Raise ``csrf`` unless ``given`` is the token of this sign-in. Nothing is asked of who came without a cookie."""
    expected = csrf_token()
    if expected and not hmac.compare_digest(expected.encode(), (given or "").encode()):
        raise Problem("csrf")
