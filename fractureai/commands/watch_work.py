"""From the watched folder to a service and back to ``done/`` and ``rejected/``, so that a kill at any moment neither
loses nor doubles anything.

What is being sent is written down before the first byte goes; under its name the upload is remembered, and the server
knows what has arrived. The batch is written down before the upload is forgotten. Files move when the batch is finished.
A file whose content went with an earlier batch is not sent again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fractureai.client import BatchStatus, Client, ServerRefused, Sorting
from fractureai.commands.watch_folder import MEMORY, Entry, Inbox, read_memory, sha256_of, write_memory
from fractureai.domain.contents import skipped_sentence
from fractureai.domain.names import safe_name
from fractureai.domain.reasons import REASONS
from fractureai.resumable import FILES_AN_UPLOAD, NothingToSend, Patience, ResumableUpload

_REMEMBERED = 200_000

Tell = Callable[[str], None]


@dataclass
class Watch:
    """The work on one watched folder.

    Attributes
    ----------
    longest_wait_s:
        Loose files wait for each other while one of them is still being written, but no longer than this.
    """

    inbox: Inbox
    client: Client
    sorting: Sorting
    tell: Tell
    longest_wait_s: float = 300.0
    _waiting_since_s: float | None = None
    _sent: _Sent = field(init=False)

    def __post_init__(self) -> None:
        self._memory = self.inbox.root / MEMORY
        self._sent = _Sent(self._memory / "sent.jsonl")

    @property
    def _sending(self) -> Path:
        return self._memory / "sending.json"

    def round(self, now_s: float) -> bool:
        """Look once, send what is complete, settle what is finished; returns whether anything is still on its way.

        Raises
        ------
        TransientFailure
            If the service is away; the next round goes on.
        ServerRefused
            If it refuses everything, such as the key.
        """
        if (left := read_memory(self._sending)) is not None:
            self._send(left)
        for path in self._open():
            self._settle(path)
        entries, unsettled = self.inbox.complete(now_s, taken=self._taken())
        entries = self._together(entries, unsettled=unsettled, now_s=now_s)
        for entry in entries:
            self.inbox.set_aside(entry)
        names = [name for entry in entries for name in entry.files if not self._known(name)]
        for start in range(0, len(names), FILES_AN_UPLOAD):
            work = {"name": uuid.uuid4().hex, "files": names[start : start + FILES_AN_UPLOAD], "refused": {}}
            write_memory(self._sending, work)
            self._send(work)
        return unsettled or bool(entries) or bool(self._open())

    def _together(self, entries: list[Entry], *, unsettled: bool, now_s: float) -> list[Entry]:
        """Views of one study may lie side by side as loose files: these go together, when all of them are complete."""
        folders = [entry for entry in entries if entry.is_folder]
        loose = [entry for entry in entries if not entry.is_folder]
        if not loose:
            self._waiting_since_s = None
            return folders
        self._waiting_since_s = now_s if self._waiting_since_s is None else self._waiting_since_s
        if unsettled and now_s - self._waiting_since_s < self.longest_wait_s:
            return folders
        self._waiting_since_s = None
        return folders + loose

    def _send(self, work: dict[str, Any]) -> None:
        """Send a set of files, or go on with it after a kill."""
        there = [name for name in work["files"] if (self.inbox.root / name).is_file()]
        if there and not self._is_accepted(work["name"]):
            upload = ResumableUpload(
                self.client,
                [(name, self.inbox.root / name) for name in there],
                label=self.inbox.root.name,
                sorting=self.sorting,
                memory=self._memory / "uploads",
                name=work["name"],
                accepted=lambda batch_id: self._accepted(batch_id, work, upload.called),
                refusing=lambda name, why: self._refusing(work, name, why),
            )
            self.tell(f"sending {len(there)} files")
            with suppress(NothingToSend):  # each of them has been noted as refused
                upload.send(Patience(0.0))
        self._reject_refused(work)
        self._sending.unlink(missing_ok=True)

    def _refusing(self, work: dict[str, Any], name: str, why: str) -> None:
        work["refused"][name] = why
        write_memory(self._sending, work)

    def _reject_refused(self, work: dict[str, Any]) -> None:
        for name, why in work["refused"].items():
            self._reject(name, why)

    def _reject(self, name: str, why: str) -> None:
        self.inbox.reject(name, why)
        self.tell(f"rejected {safe_name(name)}: {why}")

    def _accepted(self, batch_id: str, work: dict[str, Any], called: dict[str, str]) -> None:
        files = [name for name in work["files"] if name not in work["refused"]]
        write_memory(
            self._memory / "open" / f"{batch_id}.json", {"sent_as": work["name"], "files": files, "called": called}
        )
        self.tell(f"accepted: {self.client.url}/batches/{batch_id}")

    def _is_accepted(self, name: str) -> bool:
        return any((read_memory(path) or {}).get("sent_as") == name for path in self._open())

    def _open(self) -> list[Path]:
        folder = self._memory / "open"
        return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))

    def _taken(self) -> set[str]:
        return {name for path in self._open() for name in (read_memory(path) or {}).get("files", ())}

    def _settle(self, path: Path) -> None:
        """Move the files of a batch, if it is finished. May be cut off and done again."""
        work = read_memory(path)
        batch_id = path.stem
        if work is None:
            return
        try:
            status = self.client.batch(batch_id)
        except ServerRefused as refused:
            if refused.status != 404:
                raise
            # The service has lost it or deleted it; what lies in the inbox is new again.
            self.tell(f"batch {batch_id} is not known any more: its files are sent again")
            path.unlink()
            return
        if not status.finished:
            return
        reasons = self._reasons(batch_id, status, work["files"], work.get("called", {}))
        for name in work["files"]:
            if name in reasons:
                self._reject(name, reasons[name])
            else:
                self._sent.add(self.inbox.root / name, batch_id)
                self.inbox.finish(name)
        for entry in {name.split("/", 1)[0] for name in work["files"]}:
            self.inbox.clear(entry)
        self.tell(f"finished: {self.client.url}/batches/{batch_id}")
        path.unlink()

    def _reasons(self, batch_id: str, status: BatchStatus, files: list[str], called: dict[str, str]) -> dict[str, str]:
        """Files that could not be used, with the sentence why: left out, or all of a study that nobody could read."""
        reasons: dict[str, str] = {}
        known = set(files)
        for stored_name, sentence in status.rejected_uploads:
            name = called.get(stored_name, stored_name)
            if sentence == REASONS["duplicate_file"]:
                continue
            if name in known:
                reasons[name] = sentence
            else:
                self.tell(f"left out: {safe_name(name)}: {sentence}")
        if status.skipped:
            self.tell(f"skipped: {skipped_sentence(status.skipped.items())}")
        by_name: dict[str, list[str]] = {}
        stored = {original: name for name, original in called.items()}
        exactly = {stored.get(name, name): name for name in files}
        for name, original in exactly.items():
            by_name.setdefault(PurePosixPath(name).name, []).append(original)
        for study in self.client.studies_of(batch_id):
            if study["state"] not in {"rejected", "failed"}:
                continue
            for image in (self.client.study(study["study_id"])["result"] or {"images": []})["images"]:
                sentence = " ".join(reason["sentence"] for reason in image["reasons"])
                said = image["file"]
                named = [exactly[said]] if said in exactly else by_name.get(said, [])
                if len(named) == 1:
                    reasons[named[0]] = sentence
        return reasons

    def _known(self, name: str) -> bool:
        """Whether the same content went with a batch before; then the file is dealt with."""
        batch_id = self._sent.batch_of(self.inbox.root / name)
        if batch_id is None:
            return False
        self.inbox.finish(name)
        self.inbox.clear(name.split("/", 1)[0])
        self.tell(f"known: {safe_name(name)} went with batch {batch_id}")
        return True


class _Sent:
    """Contents that were read, by size and SHA-256: one line each, only ever added to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[tuple[int, str], str] = {}
        self._sizes: set[int] = set()
        lines = file.read_bytes().splitlines()[-_REMEMBERED:] if file.exists() else []
        for line in lines:
            try:
                size, digest, batch_id = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            self._learn(size, digest, batch_id)

    def batch_of(self, path: Path) -> str | None:
        """Only a file of a size that was seen is read."""
        try:
            size = path.stat().st_size
            return self._known.get((size, sha256_of(path))) if size in self._sizes else None
        except OSError:
            return None

    def add(self, path: Path, batch_id: str) -> None:
        """Remember a content."""
        try:
            size, digest = path.stat().st_size, sha256_of(path)
        except OSError:
            return  # moved before a kill, or taken away by somebody
        if (size, digest) in self._known:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as file:
            file.write(b"\n" + json.dumps([size, digest, batch_id]).encode())
        self._learn(size, digest, batch_id)

    def _learn(self, size: int, digest: str, batch_id: str) -> None:
        self._known[size, digest] = batch_id
        self._sizes.add(size)
