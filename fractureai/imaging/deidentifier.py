"""The ``Deidentifier`` port: a child that parses and rewrites, and this process, which alone has the key."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fractureai.domain.identity import birth_digits, name_words
from fractureai.domain.ports import PseudonymBook
from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.domain.sizes import above_limit
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.process import NONSENSE, Child, ChildDied, ChildTimedOut, raise_refusal


class ChildDeidentifier:
    """One warm child and a lock; made anew after a file that killed it.

    Parameters
    ----------
    shift_dates:
        Dates move by a number of days that is the patient's own, instead of going.
    book:
        Learns every pseudonym that is given.
    """

    def __init__(self, limits: DecodeLimits, pseudonyms: Pseudonyms, book: PseudonymBook, *, shift_dates: bool) -> None:
        self._limits = limits
        self._pseudonyms = pseudonyms
        self._book = book
        self._shift_dates = shift_dates
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._owner_pid = os.getpid()

    def rewrite(self, path: Path, site: str, write: Callable[[bytes], object]) -> None:
        """See the port."""
        with self._lock:
            known = self._ask({"op": "identify", "path": str(path.absolute())})
            with self._sense():
                replaced = self._replaced(site, known)
            made = self._ask({"op": "deidentify", "path": str(path.absolute()), "replacements": replaced})
            with self._sense():
                size_bytes = int(made["size"])
            if size_bytes > self._limits.max_bytes + (1 << 20):
                raise RejectedInput("too_many_bytes", above_limit(size_bytes, self._limits.max_bytes))
            at = 0
            while at < size_bytes:
                piece = self._piece(at)
                write(piece)
                at += len(piece)

    def file_name(self, site: str, name: str) -> str:
        """See the port."""
        replaced = self._pseudonyms.file_name(site, name)
        self._book.note(site, "file", name, replaced)
        return replaced

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._drop()

    def _replaced(self, site: str, known: dict[str, Any]) -> dict[str, Any]:
        patient_id, accession = str(known["patient_id"]), str(known["accession_number"])
        study_uid = str(known["study_instance_uid"])
        # Without an ID the DICOM study is the seed, so that unrelated patients do not become one.
        seed = patient_id or study_uid
        patient = self._pseudonyms.patient(site, seed)
        name = self._pseudonyms.name(
            site, seed, name_words(str(known["patient_name"])), birth_digits(str(known["patient_birth_date"]))
        )
        uids = {uid: self._pseudonyms.uid(site, uid) for uid in map(str, known["uids"])}
        self._book.note(site, "patient", patient_id, patient)
        self._book.note(site, "accession", accession, self._pseudonyms.accession(site, accession))
        self._book.note(site, "study", study_uid, uids.get(study_uid, ""))
        days = self._pseudonyms.shift_days(site, seed) if self._shift_dates else None
        return {
            "patient": patient,
            "name": "^".join(part for part in (patient, name) if part),
            "accession": self._pseudonyms.accession(site, accession),
            "uids": uids,
            "days": days,
        }

    def _piece(self, at: int) -> bytes:
        try:
            return bytes(self._ask({"op": "read", "at": at})["piece"])
        except RejectedInput as error:  # something is written already: it is not the file that is at fault now
            raise TransientFailure("internal_error", "a child died that had de-identified a file") from error

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._warm()
        try:
            header, pixels = child.ask(request, deadline_s=time.monotonic() + self._limits.timeout_s)
        except ChildTimedOut as error:
            self._drop()
            raise RejectedInput("decoder_timeout", f"{self._limits.timeout_s:g} s") from error
        except ChildDied as error:
            self._drop()
            raise RejectedInput("decoder_crashed") from error
        except BaseException:
            self._drop()
            raise
        if header.get("rejected") == "decoder_memory":
            self._drop()
        raise_refusal(header)
        if request["op"] == "read":
            if pixels is None:
                self._drop()
                raise RejectedInput("decoder_crashed")
            return {"piece": pixels.tobytes()}
        return header

    @contextlib.contextmanager
    def _sense(self) -> Iterator[None]:
        """An answer that makes none costs the child and the file."""
        try:
            yield
        except NONSENSE as error:
            self._drop()
            raise RejectedInput("decoder_crashed", "its answer makes no sense") from error

    def _warm(self) -> Child:
        if self._owner_pid != os.getpid() and self._child is not None:
            self._child.disown()  # it belongs to the process this one was forked from
            self._child = None
        self._owner_pid = os.getpid()
        if self._child is not None and (
            not self._child.is_alive() or self._child.asked >= 3 * self._limits.files_per_child
        ):
            self._drop()
        if self._child is None:
            self._child = Child.start(self._limits)
        return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
