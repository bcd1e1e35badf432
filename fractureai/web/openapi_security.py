"""Who may call what, in the OpenAPI document: told from the doors, so that the two cannot differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.routing import Rule

from fractureai.web.doors import door_of
from fractureai.web.openapi_parts import problems

SCHEMES: dict[str, Any] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "fai_…",
        "description": "A key of `fractureai keys create`, with one or more of the scopes submit, read and admin.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-fractureai",
        "description": "A person who is signed in; what changes something also needs the header X-CSRF-Token.",
    },
}

Scopes = Mapping[tuple[str, str], str | None]


def scopes_of(rules: Iterable[Rule]) -> Scopes:
    """The scope that each ``(path, method)`` of the API takes; ``None`` for what is open to everybody."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower()): door_of(rule.endpoint).scope
        for rule in rules
        for method in rule.methods or ()
    }


def guarded(paths: Mapping[str, Any], scopes: Scopes | None) -> dict[str, Any]:
    """``paths`` with what the door may answer; with ``scopes``, also with what it asks for."""
    return {
        path: {method: _operation(operation, scopes, path, method) for method, operation in item.items()}
        for path, item in paths.items()
    }


def _operation(operation: dict[str, Any], scopes: Scopes | None, path: str, method: str) -> dict[str, Any]:
    responses = problems(401, 403, 429) | operation["responses"]
    made = operation | {"responses": dict(sorted(responses.items()))}
    scope = scopes.get((path, method)) if scopes else None
    if scope is not None:
        made["security"] = [{name: [str(scope)]} for name in SCHEMES]
    return made
