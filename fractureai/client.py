"""A small typed client of the HTTP API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from fractureai.domain.names import MAX_LABEL_LENGTH, derived_name, safe_name, safe_text
from fractureai.errors import RejectedInput, TransientFailure

LONGEST_WAIT_S = 25
_CHUNK_BYTES = 1 << 18


class ServerRefused(RejectedInput):
    """The server does not do what was asked.

    Attributes
    ----------
    status:
        The HTTP status.
    problem:
        The stable code of the problem (``not_found``, ``key_reused`` …); ``""`` if the answer has none.
    """

    def __init__(self, detail: str, status: int, problem: str) -> None:
        super().__init__("refused_by_server", detail)
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Sorting:
    """What makes a study of files that do not say it themselves: ``file``, ``folder``, ``pattern`` or ``study``.

    Attributes
    ----------
    pattern:
        With ``pattern``: such as ``{study}_*``; see :mod:`fractureai.domain.name_pattern`.
    """

    grouping: str = "file"
    pattern: str = ""

    def to_json(self) -> dict[str, str]:
        """As a request has it; nothing where it is as always."""
        if self.grouping == "file":
            return {}
        return {"grouping": self.grouping} | ({"pattern": self.pattern} if self.pattern else {})


BY_FILE = Sorting()


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch has come.

    Attributes
    ----------
    counts:
        Studies by state: ``open``, ``done``, ``rejected``, ``failed``.
    rejected_uploads:
        File names that did not become a study, with the sentence why.
    skipped:
        Files of folders and archives that are no images, by kind.
    """

    batch_id: str
    finished: bool
    counts: dict[str, int]
    rejected_uploads: tuple[tuple[str, str], ...]
    tag: str = ""
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def closed_studies(self) -> int:
        """Studies that are final."""
        return sum(count for state, count in self.counts.items() if state != "open")

    @property
    def studies(self) -> int:
        """Studies known so far; it grows until the batch is unpacked."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ResultsPage:
    """Studies that became final, in that order, and where to go on."""

    studies: tuple[dict[str, Any], ...]
    next_cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A batch that is sent file by file. Who has this can go on with it, also another process tomorrow."""

    batch_id: str
    token: str
    upload_url: str
    files_url: str
    complete_url: str
    max_files: int
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file the server has. ``file`` is what the server calls it, which is another name where names may not stay."""

    number: int
    size_bytes: int
    sha256: str
    receipt: str
    file: str


@contextlib.contextmanager
def _translated(base_url: httpx.URL) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise TransientFailure("server_unreachable", f"{base_url}: {type(error).__name__}") from error


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """What is no answer of this service, such as the page of a proxy: for now, or for ever, it is somebody else's."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        where = "the answer is not one of FractureAI; is the address right?"
        raise TransientFailure("server_unreachable", where) from error


class Client:
    """Talks to one FractureAI server. Safe between threads.

    Parameters
    ----------
    key:
        An API key, for a server that asks who comes.

    Raises
    ------
    ServerRefused
        From every method, if the server refuses what was asked; the detail is the server's sentence.
    TransientFailure
        From every method, if the server cannot be reached or cannot serve now.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else None
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    @_understood()
    def submit_batch(
        self,
        files: Sequence[tuple[str, Path]],
        *,
        label: str = "",
        key: str | None = None,
        sorting: Sorting = BY_FILE,
    ) -> str:
        """Send files and archives in one request, streamed from disk; returns the id of the batch.

        With ``key``, sending the same again after a lost answer gives the same batch.
        """
        headers = {"Idempotency-Key": key} if key else {}
        with contextlib.ExitStack() as stack:
            data = {"label": safe_text(label, MAX_LABEL_LENGTH), **sorting.to_json()}
            parts = [("files", (safe_name(name), stack.enter_context(path.open("rb")))) for name, path in files]
            answer = self._send("POST", "/api/v1/batches", files=parts, data=data, headers=headers)
        return str(answer.json()["batch_id"])

    @_understood()
    def begin_upload(self) -> Upload:
        """Begin a batch that is sent file by file; :mod:`fractureai.resumable` does the rest of it."""
        data = self._send("POST", "/api/v1/uploads").json()
        return Upload(**{name: data[name] for name in Upload.__dataclass_fields__})

    @_understood()
    def arrived(self, upload: Upload) -> tuple[Arrived, ...] | None:
        """What the server has of an upload; ``None`` if it is complete."""
        data = self._send("GET", upload.upload_url, headers={"Upload-Token": upload.token}).json()
        return None if data["state"] == "complete" else tuple(_arrived(entry) for entry in data["files"])

    @_understood()
    def put_file(self, upload: Upload, number: int, name: str, path: Path) -> Arrived:
        """Send one file of an upload, streamed from disk; again in the place of the one before."""
        headers = {"Upload-Token": upload.token, "Content-Type": "application/octet-stream"}
        headers["Content-Length"] = str(path.stat().st_size)
        # RFC 8187. Addresses end in logs, and a file's name may be a patient's.
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(safe_name(name), safe='')}"
        with path.open("rb") as stream:
            content = iter(lambda: stream.read(_CHUNK_BYTES), b"")
            answer = self._send("PUT", f"{upload.files_url}{number}", headers=headers, content=content)
        return _arrived(answer.json())

    @_understood()
    def complete_upload(
        self, upload: Upload, receipts: Sequence[str], *, label: str = "", sorting: Sorting = BY_FILE
    ) -> str:
        """Hand in the receipts; returns the id of the batch. Asked again, it answers the same."""
        body = {"receipts": list(receipts), "label": safe_text(label, MAX_LABEL_LENGTH), **sorting.to_json()}
        return str(self._send("POST", upload.complete_url, json=body).json()["batch_id"])

    @_understood()
    def batch(self, batch_id: str, *, wait_s: int = 0, known: BatchStatus | None = None) -> BatchStatus:
        """How far a batch has come; with ``wait_s``, as soon as it is finished or differs from what is ``known``."""
        headers = {"If-None-Match": f'"{known.tag}"'} if known and known.tag else {}
        query = {"wait": min(wait_s, LONGEST_WAIT_S)} if wait_s else {}
        answer = self._send("GET", f"/api/v1/batches/{batch_id}", params=query, headers=headers)
        if answer.status_code == 304 and known is not None:
            return known
        data = answer.json()
        rejected = tuple((entry["file"], entry["reason"]["sentence"]) for entry in data["rejected_uploads"])
        tag = answer.headers.get("ETag", "").strip('"')
        skipped = {str(entry["kind"]): int(entry["count"]) for entry in data["skipped"]["kinds"]}
        return BatchStatus(data["batch_id"], data["finished"], dict(data["counts"]), rejected, tag, skipped)

    @_understood()
    def retry_batch(self, batch_id: str) -> int:
        """Have all that failed of a batch tried again; returns how many."""
        return int(self._send("POST", f"/api/v1/batches/{batch_id}/retry").json()["reopened"])

    def studies(self, **filters: str) -> Iterator[dict[str, Any]]:
        """The worklist as the status request shows it, page by page: ``state, assessment, region, batch_id, from_, to,
        q, order``.
        """
        query = {name.rstrip("_"): value for name, value in filters.items()}
        if words := query.pop("q", ""):
            with _understood():
                query["search"] = str(self._send("POST", "/api/v1/searches", json={"q": words}).json()["search"])
        yield from self._pages("/api/v1/studies", query)

    def studies_of(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """All studies of a batch, page by page."""
        yield from self._pages(f"/api/v1/batches/{batch_id}/studies", {})

    @_understood()
    def results(self, after: str = "", *, limit: int = 100, wait_s: int = 0) -> ResultsPage:
        """What became final after a cursor (``""``: ever); with ``wait_s``, as soon as there is something."""
        query = {"after": after, "limit": limit, "wait": min(wait_s, LONGEST_WAIT_S)}
        data = self._send("GET", "/api/v1/results", params=query).json()
        return ResultsPage(tuple(data["studies"]), str(data["next_cursor"]), bool(data["more"]))

    @_understood()
    def study(self, study_id: str, *, wait_s: int = 0) -> dict[str, Any]:
        """One study; its ``result`` is there when it is final. With ``wait_s``, as soon as it is."""
        query = {"wait": min(wait_s, LONGEST_WAIT_S)} if wait_s else {}
        return dict(self._send("GET", f"/api/v1/studies/{study_id}", params=query).json())

    def artifact(self, study_id: str, name: str) -> bytes:
        """A file of a study: ``report.pdf``, ``images/1/overlay.jpg`` …"""
        return self._send("GET", f"/api/v1/studies/{study_id}/{name}", follow_redirects=True).content

    def export(self, batch_id: str, name: str, target: Path) -> None:
        """Save ``results.csv``, ``results.ndjson`` or ``reports.zip`` of a batch; nothing is left of half a file."""
        part = target.with_name(derived_name(target.name, ".part"))
        try:
            with (
                _translated(self._http.base_url),
                part.open("wb") as file,
                self._http.stream("GET", f"/api/v1/batches/{batch_id}/{name}") as answer,
            ):
                if not answer.is_success:
                    answer.read()
                    _raise(answer)
                for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            asked = {**query, "limit": "100"} | ({"cursor": cursor} if cursor else {})
            with _understood():
                page = self._send("GET", path, params=asked).json()
                studies, cursor = list(page["studies"]), page["next_cursor"]
            yield from studies
            if not cursor:
                return

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with _translated(self._http.base_url):
            answer = self._http.request(method, path, **request)
        if not answer.is_success and answer.status_code != 304:
            _raise(answer)
        return answer


def _arrived(entry: Mapping[str, Any]) -> Arrived:
    return Arrived(**{name: entry[name] for name in Arrived.__dataclass_fields__})


def _raise(answer: httpx.Response) -> None:
    sentence, code = f"HTTP {answer.status_code}", ""
    with contextlib.suppress(ValueError, RecursionError):
        data = answer.json()
        if isinstance(data, dict):
            sentence = str(data.get("detail") or data.get("title") or sentence)
            code = str(data.get("code", ""))
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS or answer.is_server_error:
        raise TransientFailure("server_unreachable", sentence)
    raise ServerRefused(sentence, answer.status_code, code)
