"""Variables that Kubernetes puts into pods for the Services of their namespace, unless ``enableServiceLinks`` is off.

A Service ``fractureai-web`` becomes ``FRACTUREAI_WEB_SERVICE_HOST``, ``FRACTUREAI_WEB_PORT`` and others, which look
like settings and are none. See "Discovering services" in the Kubernetes documentation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

_HOST = "_SERVICE_HOST"
_ADDRESS = re.compile(r"(tcp|udp|sctp)://[0-9A-Fa-f.:\[\]]+:\d{1,5}")
_NUMBER = re.compile(r"\d{1,5}")
_SHAPES = (
    # what follows the Service's name, and the shape of its value
    (re.compile(r"_SERVICE_PORT(_[A-Z0-9_]+)?"), _NUMBER),
    (re.compile(r"_PORT(_\d{1,5}_(TCP|UDP|SCTP))?"), _ADDRESS),
    (re.compile(r"_PORT_\d{1,5}_(TCP|UDP|SCTP)_PROTO"), re.compile(r"tcp|udp|sctp")),
    (re.compile(r"_PORT_\d{1,5}_(TCP|UDP|SCTP)_PORT"), _NUMBER),
)
_ADDRESS_OF_PORT = re.compile(r"_PORT_\d{1,5}_(TCP|UDP|SCTP)_ADDR")


def service_links(environment: Mapping[str, str]) -> set[str]:
    """Find the names of variables that are service links.

    A variable counts only beside a ``…_SERVICE_HOST`` of the same Service that holds an address, and only if its own
    value has the shape it must have: a mistyped setting stays a mistyped setting.
    """
    hosts = {name for name, value in environment.items() if name.endswith(_HOST) and _is_address(value)}
    services = [name.removesuffix(_HOST) for name in hosts]
    return hosts | {
        name
        for name, value in environment.items()
        if any(name.startswith(service) and _is_link(name[len(service) :], value) for service in services)
    }


def _is_link(ending: str, value: str) -> bool:
    if _ADDRESS_OF_PORT.fullmatch(ending):
        return _is_address(value)
    return any(name.fullmatch(ending) and shape.fullmatch(value) for name, shape in _SHAPES)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
