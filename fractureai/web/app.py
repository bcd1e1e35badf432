"""The application factory: blueprints, limits and the headers that every answer carries."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from fractureai.web import (
    admission,
    api,
    api_results,
    api_uploads,
    audit,
    deliveries,
    dicom_results,
    dicomweb,
    exports,
    fhir,
    health,
    pages,
    problems,
    sign_in,
)
from fractureai.web.api_blueprint import bp as api_bp
from fractureai.web.context import EXTENSION, Web, WebPorts, WebSettings, web
from fractureai.web.observing import Observing, observe
from fractureai.web.problems import Problem
from fractureai.web.session import is_https
from fractureai.web.upload import drain

__all__ = ["WebPorts", "WebSettings", "create_app"]

# Each puts its addresses on the blueprint of the API or of the pages when it is imported.
_API = (api, api_results, api_uploads, dicom_results, exports, fhir)
_PAGES = (pages, deliveries)

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_CONTROL = {chr(number) for number in (*range(0x20), 0x7F)}
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class IdConverter(BaseConverter):
    """An id of ours in an address; anything else is not found before any code of ours sees it."""

    regex = "[0-9a-f]{32}"
    part_isolating = True


def create_app(ports: WebPorts, settings: WebSettings, observing: Observing | None = None) -> Flask:
    """Build the web application.

    Parameters
    ----------
    ports:
        What it may reach. Shared by all threads that serve requests.
    settings:
        Limits and names.
    observing:
        How it is watched; by default it counts for itself.
    """
    app = Flask("fractureai.web")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        MAX_CONTENT_LENGTH=settings.max_request_bytes,
        TRUSTED_HOSTS=list(settings.trusted_hosts) or None,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.extensions[EXTENSION] = Web(ports, settings, threading.BoundedSemaphore(settings.max_waiters))
    app.url_map.converters["id"] = IdConverter
    # First of all, so that what is refused has an id and is counted.
    observe(app, observing or Observing.alone())
    app.before_request(_refuse_odd_hosts)
    app.before_request(_refuse_odd_queries)
    app.before_request(_refuse_other_sites)
    if settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies)  # type: ignore[method-assign]
    admission.register(app)
    app.after_request(_harden)
    # Runs before the headers are set, and may put another answer in the place of the one that cannot be recorded.
    audit.register(app)
    problems.register(app)
    app.register_blueprint(health.bp)
    app.register_blueprint(api_bp)
    app.register_blueprint(dicomweb.bp)
    app.register_blueprint(pages.bp)
    app.register_blueprint(sign_in.bp)
    return app


def _refuse_odd_hosts() -> None:
    """End a request for a host that is not ours or cannot be: nothing behind could make an address."""
    if isinstance(request.routing_exception, problems.HOST_ERRORS):
        raise request.routing_exception


def _refuse_odd_queries() -> None:
    """Refuse raw bytes that are no UTF-8 or no text: Werkzeug fails on them where it reads or repeats a query."""
    try:
        is_text = not _CONTROL & set(request.query_string.decode())
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        drain(request)
        raise Problem("bad_request", "What follows “?” in an address is UTF-8, best percent-encoded.")


def _refuse_other_sites() -> None:
    """Refuse requests that change something and that a browser sent from a page of another site.

    Browsers say where a request comes from (Fetch Metadata, or ``Origin`` in older ones); other programs send neither
    header and carry no credentials that a page elsewhere could borrow.
    """
    if request.method in _SAFE_METHODS:
        return
    came_from = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if came_from is not None:
        same = came_from in {"same-origin", "none"}
    else:
        same = origin is None or urlsplit(origin).netloc in _own_hosts()
    if not same:
        drain(request)
        raise Problem("cross_site")


def _own_hosts() -> set[str]:
    base = web().settings.public_base_url
    return {request.host} | ({urlsplit(base).netloc} if base else set())


def _harden(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if is_https():
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint == "static":
        # Kept, but asked for by entity tag each time: after an upgrade no old script meets a new page.
        response.headers["Cache-Control"] = "no-cache"
    else:
        # Pages, results and pictures are patient data: no cache, shared or not, may keep them.
        response.headers["Cache-Control"] = "no-store"
    return response
