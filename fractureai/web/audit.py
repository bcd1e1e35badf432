"""What a request leaves in the audit: by its door when it was answered, or where the code knows better.

A record is written before the answer leaves; if it cannot be written, the answer does not leave either. Looking at the
same thing again within a minute is the same look: a page with eight pictures is one record, and so is a script that
asks every second how far a study is. Downloads and everything that changes something are always written.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from flask import Flask, Response, current_app, g, request

from fractureai.domain.access import Principal
from fractureai.domain.audit import Act, AuditEvent, Outcome
from fractureai.errors import TransientFailure
from fractureai.web.context import web
from fractureai.web.doors import door_of
from fractureai.web.problems import Problem, respond

_EXTENSION = "fractureai.audit"
_SAME_LOOK_S = 60.0
_REMEMBERED = 4096
_OFTEN = {Act.VIEW, Act.QUERY}
_RARE = {Act.VERDICT, Act.RETRY, Act.SIGN_IN, Act.SIGN_OUT}
_MAX_NAME = 100


@dataclass
class _Looks:
    """The looks of the last minute, so that each is written once."""

    _known: OrderedDict[tuple[str, ...], float] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_new(self, look: tuple[str, ...], now_s: float) -> bool:
        with self._lock:
            seen = self._known.get(look)
            return seen is None or not 0 <= now_s - seen < _SAME_LOOK_S

    def add(self, look: tuple[str, ...], now_s: float) -> None:
        with self._lock:
            self._known[look] = now_s
            self._known.move_to_end(look)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def register(app: Flask) -> None:
    """Write what ``app`` answers."""
    app.extensions[_EXTENSION] = _Looks()
    app.after_request(_write)


def address() -> str:
    """Where the request comes from."""
    return request.remote_addr or ""


def subject(kind: str, ident: str) -> None:
    """What this request is about, where its address does not say: something that was made just now."""
    g.audit_subject = (kind, ident)


def note(act: Act, *, outcome: Outcome = Outcome.DONE, detail: str = "") -> None:
    """Write something of whoever asks at once."""
    who: Principal = g.principal
    kind, ident = _subject()
    event = AuditEvent.by(
        who,
        act,
        at_s=web().ports.clock(),
        address=address(),
        subject_kind=kind,
        subject=ident,
        outcome=outcome,
        detail=detail,
    )
    # A sync of the disk at every look, download and file sent would cost more than the work; a killed process forgets
    # nothing either way, only a power cut forgets the last moments.
    web().ports.ledger.note(event, durable=act in _RARE)


def note_refusal(detail: str, *, claimed: str = "") -> None:
    """Write that somebody was not let in: at the site of the installation, for they belong to none."""
    event = AuditEvent(
        site=web().settings.site,
        act=Act.REFUSED,
        at_s=web().ports.clock(),
        who_kind="nobody",
        who=claimed[:_MAX_NAME],
        who_name="",
        address=address(),
        outcome=Outcome.REFUSED,
        detail=detail,
    )
    web().ports.ledger.note(event, durable=False)


def _write(response: Response) -> Response:
    act = door_of(request.endpoint).act if request.endpoint else None
    # 304: whoever asked has what they saw before.
    if act is None or response.status_code >= 400 or response.status_code == 304 or "principal" not in g:
        return response
    try:
        _write_once(act)
    except TransientFailure as failure:
        response.close()
        return respond(Problem(failure.code))
    return response


def _write_once(act: Act) -> None:
    if act not in _OFTEN:
        note(act, detail=request.endpoint or "")
        return
    looks = _looks()
    now_s, who = web().ports.clock(), g.principal
    look = (who.site, who.kind.value, who.ident, address(), act.value, *_subject())
    if looks.is_new(look, now_s):
        note(act, detail=request.endpoint or "")
        looks.add(look, now_s)


def _looks() -> _Looks:
    """The looks of this process."""
    found = current_app.extensions[_EXTENSION]
    if not isinstance(found, _Looks):
        raise TypeError("the application was not built by create_app")
    return found


def _subject() -> tuple[str, str]:
    if "audit_subject" in g:
        return g.audit_subject
    for kind in ("study", "batch", "delivery"):
        ident = (request.view_args or {}).get(f"{kind}_id")
        if ident is not None:
            return kind, str(ident)
    return "", ""
