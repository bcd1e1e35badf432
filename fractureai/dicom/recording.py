"""What DICOM peers leave in the audit: each examination an association brings, and who was turned away."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from fractureai.domain.access import Kind, Principal, Scope
from fractureai.domain.audit import Act, AuditEvent, AuditLedger, Outcome
from fractureai.errors import TransientFailure

_SAME_S = 60.0
_REMEMBERED = 1024


@dataclass
class Recorder:
    """Writes the same at most once a minute, so that neither a long series nor a flood of strangers fills the audit."""

    ledger: AuditLedger
    clock: Callable[[], float]
    site: str
    _known: OrderedDict[tuple[str, ...], float] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self, site: str, caller: str, address: str, examination_id: str) -> None:
        """An image of an examination came. Raises ``TransientFailure`` if it cannot be written."""
        if self._is_new(("arrived", site, caller, address, examination_id)):
            who = Principal(Kind.PEER, f"ae:{caller}", caller, site, frozenset({Scope.SUBMIT}))
            subject = {"subject_kind": "examination", "subject": examination_id, "detail": "C-STORE"}
            event = AuditEvent.by(who, Act.INTAKE, at_s=self.clock(), address=address, **subject)
            self.ledger.note(event, durable=False)

    def refused(self, caller: str, address: str, why: str = "an unknown DICOM caller") -> None:
        """A caller was turned away, whether or not that can be written."""
        if self._is_new(("refused", address)):
            event = AuditEvent(
                site=self.site,
                act=Act.REFUSED,
                at_s=self.clock(),
                who_kind=Kind.NOBODY.value,
                who=f"ae:{caller[:16]}",
                who_name="",
                address=address,
                outcome=Outcome.REFUSED,
                detail=why,
            )
            with contextlib.suppress(TransientFailure):
                self.ledger.note(event, durable=False)

    def _is_new(self, what: tuple[str, ...]) -> bool:
        now_s = self.clock()
        with self._lock:
            seen = self._known.get(what)
            if seen is not None and 0 <= now_s - seen < _SAME_S:
                return False
            self._known[what] = now_s
            self._known.move_to_end(what)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return True
