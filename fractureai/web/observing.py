"""What is seen of a request from outside: its id, its time, its answer; and the address where Prometheus reads it."""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from fractureai import tracing
from fractureai.metrics.instruments import Instruments
from fractureai.metrics.shared import Meters
from fractureai.web.problems import Problem

REQUEST_ID = "X-Request-Id"
# Whoever set one of these is a proxy, and speaks for somebody further away than the address of the connection.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass(frozen=True, slots=True)
class Observing:
    """How the web is watched.

    Attributes
    ----------
    registry:
        What ``/metrics`` shows.
    allow:
        Networks that may read it, as CIDR; to all others the address does not exist.
    """

    instruments: Instruments
    registry: CollectorRegistry
    allow: Sequence[str] = ("127.0.0.0/8", "::1/128")

    @classmethod
    def alone(cls) -> Observing:
        """Of an application that is not part of a deployment."""
        meters = Meters()
        return cls(meters.instruments, meters.registry())


def observe(app: Flask, observing: Observing) -> None:
    """Give every request an id, count it, and serve ``/metrics`` to those who may read it."""
    networks = [ipaddress.ip_network(network) for network in observing.allow]
    count = observing.instruments

    @app.before_request
    def begin() -> None:
        g.began_s = time.perf_counter()
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if tracing.well_formed(given) else uuid.uuid4().hex
        g.bound = tracing.bind_only(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        # A request that is refused before ours begins (an unknown host) has neither id nor time.
        if "request_id" in g:
            response.headers[REQUEST_ID] = g.request_id
            method = request.method if request.method in _METHODS else "other"
            route = request.url_rule.rule if request.url_rule else "none"
            count.http_requests.labels(method, route, str(response.status_code)).inc()
            count.http_duration.labels(method, route).observe(time.perf_counter() - g.began_s)
        return response

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        if "bound" in g:
            tracing.unbind(g.pop("bound"))

    @app.get("/metrics")
    def metrics() -> Response:
        if not _may_read(networks):
            raise Problem("not_found")
        return Response(generate_latest(observing.registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _may_read(networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        # What the connection says, not what a proxy's headers made of it.
        original = request.environ.get("werkzeug.proxy_fix.orig", {})
        address = ipaddress.ip_address(original.get("REMOTE_ADDR") or request.environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
