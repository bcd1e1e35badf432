"""From a request's files to accepted work. The API and the pages both come through here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import Request

from fractureai.domain import keys
from fractureai.domain.names import MAX_LABEL_LENGTH, safe_text
from fractureai.domain.records import KeyedRequest, StudyRow
from fractureai.domain.study import Batch, SourceImage, Study, Upload
from fractureai.errors import TransientFailure
from fractureai.stages import accept
from fractureai.web import audit, keyed
from fractureai.web.context import WebPorts, site, web
from fractureai.web.problems import Problem
from fractureai.web.session import CSRF_FIELD, check_csrf
from fractureai.web.sorting import Sorting, sorting_of
from fractureai.web.upload import HashingStore, Limits, ReceivedFile, Receiver, drain

EXPIRED = "An upload that is not completed within a day is removed. Begin a new one."

Answer = dict[str, Any]
Subject = TypeVar("Subject", Study, Batch)
Taken = TypeVar("Taken")


def study_from_form(request: Request, field: str, *, answer: Callable[[Study], Answer] | None = None) -> Study:
    """Accept the files of a form as the views of one study.

    Parameters
    ----------
    answer:
        What the sender is told; with it, an ``Idempotency-Key`` is heeded.

    Raises
    ------
    AlreadyAnswered
        If the same request came before with the same key.
    """
    ports, here = web().ports, site()
    study_id, batch_id = ports.new_id(), ports.new_id()

    def make(label: str, files: Sequence[ReceivedFile], _: Sorting) -> Study:
        return Study(here, study_id, batch_id, label, ports.clock(), _sources(files))

    work = _Work(
        "study",
        study_id,
        lambda number: keys.source(here, study_id, number),
        make,
        accept.accept_study,
        archives=False,
    )
    return _from_form(request, field, work, keys.study_json(here, study_id), answer)


def batch_from_form(request: Request, field: str, *, answer: Callable[[Batch], Answer] | None = None) -> Batch:
    """Accept the files of a form as a batch that an intake task makes studies of; as :func:`study_from_form`."""
    ports, here = web().ports, site()
    batch_id = ports.new_id()

    def make(label: str, files: Sequence[ReceivedFile], sorting: Sorting) -> Batch:
        uploads = tuple(as_upload(file) for file in files)
        return Batch(here, batch_id, label, ports.clock(), uploads, sorting.grouping, sorting.pattern)

    work = _Work("batch", batch_id, lambda number: keys.batch_upload(here, batch_id, number), make, accept.accept_batch)
    return _from_form(request, field, work, keys.batch_json(here, batch_id), answer)


@dataclass(frozen=True, slots=True)
class _Work(Generic[Subject]):
    """What becomes of the files of a form: where they go, what they make, and who takes it."""

    kind: str
    subject_id: str
    key_of: Callable[[int], str]
    make: Callable[[str, Sequence[ReceivedFile], Sorting], Subject]
    take: Callable[[Subject, WebPorts, KeyedRequest | None], KeyedRequest | None]
    archives: bool = True


def _from_form(
    request: Request, field: str, work: _Work[Subject], document_key: str, answer: Callable[[Subject], Answer] | None
) -> Subject:
    key = keyed.key_of(request) if answer else None
    known = keyed.earlier(key)
    if known is None:
        refuse_when_busy(request)
    ports = web().ports
    # Where files are changed on their way into the store, only what was stored can be compared with what was.
    store = ports.store if known is None or ports.file_name else HashingStore()
    if known is None:
        ports.ledger.begin_receiving(work.subject_id, site=site(), now_s=ports.clock())
    with Receiver(store, work.key_of, _limits(), refuse_archives=not work.archives) as receiver:
        said = receiver.multipart(request, field)
        if answer is None:
            check_csrf(said.get(CSRF_FIELD))  # a page's form, whose fields are known only now
        label, sorting = label_of(said.get("label")), sorting_of(said)
        asked = keyed.fingerprint(work.kind, label, receiver.files, sorting)
        if known is not None:
            keyed.answer_again(known, asked)
        subject = work.make(label, receiver.files, sorting)
        remembered = keyed.keyed(key, asked, answer(subject)) if answer else None
        # Somebody else may have come with the key since; then what was received here is forgotten.
        other = _take(lambda: work.take(subject, ports, remembered), document_key)
        if other is not None:
            keyed.answer_again(other, asked)
    audit.subject(work.kind, subject.study_id if isinstance(subject, Study) else subject.batch_id)
    return subject


def complete_upload(batch_id: str, label: str, uploads: tuple[Upload, ...], sorting: Sorting) -> None:
    """Accept a batch that was sent file by file.

    Raises
    ------
    Problem
        ``not_found`` if the upload has expired.
    """
    ports, here = web().ports, site()
    batch = Batch(here, batch_id, label, ports.clock(), uploads, sorting.grouping, sorting.pattern)
    if not _take(lambda: accept.complete_upload(batch, ports), keys.batch_json(here, batch_id)):
        raise Problem("not_found", EXPIRED)


def receive_upload(request: Request, batch_id: str, number: int, file_name: str) -> Upload:
    """Take one file of an upload that is sent file by file: the whole body of the request.

    Raises
    ------
    Problem
        ``not_found`` if the upload has expired.
    """
    ports, here = web().ports, site()
    with Receiver(ports.store, lambda n: keys.batch_upload(here, batch_id, n), _limits()) as receiver:
        upload = as_upload(receiver.body(request, number, file_name))
        if not ports.ledger.arrived(batch_id, upload, site=here, now_s=ports.clock()):
            raise Problem("not_found", EXPIRED)
    return upload


def retry_study(study_id: str) -> StudyRow:
    """Try a failed study again.

    Raises
    ------
    Problem
        ``not_found``, or ``not_failed`` if the study did not fail.
    """
    ports, here = web().ports, site()
    if ports.ledger.study(study_id, site=here) is None:
        raise Problem("not_found")
    if not ports.ledger.reopen(study_id, site=here, now_s=ports.clock()):
        raise Problem("not_failed")
    row = ports.ledger.study(study_id, site=here)
    if row is None:
        raise Problem("not_found")
    if row.stage is not None:
        with contextlib.suppress(TransientFailure):  # the ledger remembers; the reconciler publishes it later
            ports.queue.publish_study(study_id, row.stage)
    return row


def retry_batch(batch_id: str) -> int:
    """Try everything of a batch that failed again; the reconciler publishes it. Returns how many.

    Raises
    ------
    Problem
        ``not_found``, or ``not_failed`` if nothing failed.
    """
    ports, here = web().ports, site()
    if ports.ledger.batch(batch_id, site=here) is None:
        raise Problem("not_found")
    reopened = ports.ledger.reopen_batch(batch_id, site=here, now_s=ports.clock())
    if not reopened:
        raise Problem("not_failed")
    return reopened


def as_upload(file: ReceivedFile) -> Upload:
    """A received file as a file of a batch."""
    return Upload(file.number, _called(file), file.stored.size_bytes, file.stored.sha256)


def label_of(text: str | None) -> str:
    """The sender's name for a study or batch, fit to be shown."""
    return safe_text(text, MAX_LABEL_LENGTH)


def _sources(files: Sequence[ReceivedFile]) -> tuple[SourceImage, ...]:
    return tuple(SourceImage(file.number, _called(file), file.stored.size_bytes, file.stored.sha256) for file in files)


def _called(file: ReceivedFile) -> str:
    """What the file is called from here on: as the sender calls it, or where names may not stay, otherwise."""
    rename = web().ports.file_name
    return rename(site(), file.file_name) if rename else file.file_name


def _limits() -> Limits:
    settings = web().settings
    return Limits(settings.max_files, settings.max_file_bytes)


def refuse_when_busy(request: Request) -> None:
    """Raise ``busy`` if as much work is open as the settings allow.

    Asked before the body is read, so that a full service does not also fill its disk.
    """
    if web().ports.ledger.open_count() >= web().settings.max_open_studies:
        drain(request)
        raise Problem("busy")


def _take(accept_it: Callable[[], Taken], document_key: str) -> Taken:
    """Accept; if that fails the sender is told to send again, so nothing may be left that looks accepted."""
    try:
        return accept_it()
    except TransientFailure:
        with contextlib.suppress(TransientFailure):  # the failure on its way up already says that the store is away
            web().ports.store.delete(document_key)
        raise
