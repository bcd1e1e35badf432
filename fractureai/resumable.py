"""Sending many files over a line that breaks: what arrived once is never sent again, also after the program was killed.

The server knows what has arrived, by number, size and SHA-256; this side only remembers which upload it was, in a small
file whose name comes from what is sent and where to.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from fractureai.client import BY_FILE, Arrived, Client, ServerRefused, Sorting, Upload
from fractureai.domain.names import distinct_names
from fractureai.domain.sizes import above_limit
from fractureai.errors import TransientFailure

_LOG = logging.getLogger(__name__)


class NothingToSend(ServerRefused):
    """None of the files can be sent."""

    def __init__(self, refused: Sequence[tuple[str, str]]) -> None:
        told = "; ".join(f"{name}: {why}" for name, why in refused[:_MOST_TOLD])
        more = f"; and {len(refused) - _MOST_TOLD:,} more" if len(refused) > _MOST_TOLD else ""
        super().__init__(f"nothing was sent: {told}{more}", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "")


FILES_AN_UPLOAD = 2000
"""More than these become several batches: one batch is unpacked by one worker."""

_MOST_TOLD = 3
_AT_ONCE = 4
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0

Files = Sequence[tuple[str, Path]]
Answer = TypeVar("Answer")


def memory_folder() -> Path:
    """Where unfinished uploads are remembered."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fractureai" / "uploads"


@dataclass(slots=True)
class Patience:
    """Tries again while a server cannot be reached, for so long after it last answered; not if it never did.

    Attributes
    ----------
    on_wait:
        Is told why, before each pause.
    """

    patience_s: float = 300.0
    on_wait: Callable[[TransientFailure], None] = lambda _: None
    _answered_at_s: float = field(default=float("-inf"), init=False)

    def use(self, ask: Callable[[], Answer]) -> Answer:
        """The answer. Raises the last ``TransientFailure`` when patience is at its end."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                answer = ask()
            except TransientFailure as failure:
                if time.monotonic() + pause > self._answered_at_s + self.patience_s:
                    raise
                self.on_wait(failure)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                self._answered_at_s = time.monotonic()
                return answer


class ResumableUpload:
    """The files of one batch, on their way.

    Parameters
    ----------
    memory:
        Folder that remembers the upload until it is complete.
    progress:
        Is told the number of files that have arrived since the last time.
    name:
        What the upload is remembered by; by default made of what is sent and where to.
    accepted:
        Is told the batch before it is forgotten here, so that whoever must know of it can write it down first.
    refusing:
        Is told of a file the server does not take, and why, before the upload is completed.

    Attributes
    ----------
    refused:
        After :meth:`send`: files the server does not take, with the sentence why.
    called:
        Names by what the server calls the files, where that is something else.
    """

    def __init__(
        self,
        client: Client,
        files: Files,
        *,
        label: str = "",
        sorting: Sorting = BY_FILE,
        memory: Path | None = None,
        progress: Callable[[int], None] = lambda _: None,
        name: str = "",
        accepted: Callable[[str], None] = lambda _: None,
        refusing: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        if not 0 < len(files) <= FILES_AN_UPLOAD:
            raise ValueError(f"1 to {FILES_AN_UPLOAD} files, got {len(files)}")
        self._client = client
        self._files = files
        self._label = label
        self._sorting = sorting
        self._progress = progress
        self._accepted = accepted
        self._refusing = refusing
        self.refused: list[tuple[str, str]] = []
        self.called: dict[str, str] = {}
        self._memory = (memory or memory_folder()) / f"{name or _name_of(client, files, label, sorting)}.json"

    def send(self, patience: Patience) -> str:
        """Send what has not arrived yet; returns the id of the batch.

        Raises
        ------
        ServerRefused
            If the server refuses the upload.
        NothingToSend
            If no file of it can be read and is taken.
        TransientFailure
            When patience is at its end; the next run goes on from there.
        """
        upload, arrived = self._resumed(patience) or self._begun(patience)
        if arrived is not None:
            receipts = self._send_missing(upload, {file.number: file for file in arrived}, patience)
            if not receipts:
                raise NothingToSend(self.refused)
            how = {"label": self._label, "sorting": self._sorting}
            patience.use(lambda: self._client.complete_upload(upload, receipts, **how))
        self._accepted(upload.batch_id)
        self._memory.unlink(missing_ok=True)
        return upload.batch_id

    def _begun(self, patience: Patience) -> tuple[Upload, tuple[Arrived, ...]]:
        upload = patience.use(self._client.begin_upload)
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Whoever reads the token can add files to the upload.
            with os.fdopen(os.open(self._memory, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(asdict(upload), file)
        except OSError as error:
            _LOG.warning("%s cannot be written; an interruption means to begin anew: %s", self._memory, error)
        return upload, ()

    def _resumed(self, patience: Patience) -> tuple[Upload, tuple[Arrived, ...] | None] | None:
        try:
            upload = Upload(**json.loads(self._memory.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        try:
            return upload, patience.use(lambda: self._client.arrived(upload))
        except ServerRefused as refused:
            _LOG.info("the upload is begun anew: %s", refused.detail)
            return None

    def _send_missing(self, upload: Upload, arrived: dict[int, Arrived], patience: Patience) -> list[str]:
        sent_as = distinct_names([name for name, _ in self._files])

        def receipt(number: int, name: str, path: Path) -> str | None:
            there = arrived.get(number)
            try:
                size_bytes = path.stat().st_size
                if there is None or there.size_bytes != size_bytes or there.sha256 != _sha256(path):
                    there = self._put(upload, number, sent_as[number - 1], path, size_bytes, patience)
            except _Refused as refused:
                there = self._refuse(name, str(refused))
            except OSError as error:
                # One that has arrived before may have gone in the meantime.
                there = there or self._refuse(name, (error.strerror or type(error).__name__).lower())
            if there is not None and there.file != name:
                self.called[there.file] = name
            self._progress(1)
            return there.receipt if there else None

        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            waiting = [pool.submit(receipt, number, *file) for number, file in enumerate(self._files, start=1)]
            try:
                return [found for one in waiting if (found := one.result())]
            except BaseException:
                for one in waiting:
                    one.cancel()
                raise

    def _refuse(self, name: str, why: str) -> None:
        self.refused.append((name, why))
        self._refusing(name, why)

    def _put(self, upload: Upload, number: int, name: str, path: Path, size_bytes: int, patience: Patience) -> Arrived:
        if size_bytes > upload.max_file_bytes:
            raise _Refused(above_limit(size_bytes, upload.max_file_bytes))
        try:
            return patience.use(lambda: self._client.put_file(upload, number, name, path))
        except ServerRefused as refused:
            if refused.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            raise _Refused(refused.detail) from refused


class _Refused(Exception):
    """The server does not take this file."""


def _name_of(client: Client, files: Files, label: str, sorting: Sorting) -> str:
    """The same for the same files, sent to the same place."""
    sent = [[name, str(path.resolve()), *_size_and_time(path)] for name, path in files]
    return hashlib.sha256(json.dumps([client.url, label, sorting.to_json(), sent]).encode()).hexdigest()[:32]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # told when it is to be sent
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
