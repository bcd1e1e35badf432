"""Files on their way from a request into the store, chunk by chunk: never a whole file in memory, never decoded."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

from flask import Request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from fractureai.domain.name_encoding import decode, encoding_of
from fractureai.domain.names import safe_name, safe_text
from fractureai.domain.ports import Sink, StoredObject
from fractureai.domain.sizes import above_limit
from fractureai.errors import TransientFailure
from fractureai.web.header_parameters import HeaderValue, parse_header
from fractureai.web.multipart import MultipartReader, NotMultipart, Part
from fractureai.web.problems import KINDS, Problem

log = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
_DRAIN_BYTES = 64 * 1024 * 1024
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
# A form holds a handful of fields beside its files.
_MAX_FIELDS = 20
_MAX_FIELD_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may bring."""

    max_files: int
    max_file_bytes: int


class FileStore(Protocol):
    """What receiving needs of a store."""

    def sink(self, key: str) -> Sink:
        """Begin a streamed write."""

    def delete(self, key: str) -> None:
        """Remove it."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """One file of a request, now in the store."""

    number: int
    file_name: str
    stored: StoredObject


class HashingStore:
    """Takes the place of the store for a request that was answered before: its files are only looked at."""

    def sink(self, key: str) -> _HashingSink:
        """Begin a file that is not kept."""
        return _HashingSink(key)

    def delete(self, key: str) -> None:
        """Nothing was kept."""


class _HashingSink:
    def __init__(self, key: str) -> None:
        self._key = key
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    def write(self, chunk: bytes, /) -> int:
        self._hash.update(chunk)
        self._size_bytes += len(chunk)
        return len(chunk)

    def commit(self) -> StoredObject:
        return StoredObject(self._key, self._size_bytes, self._hash.hexdigest())

    def abort(self) -> None:
        """Nothing was kept."""


class Receiver:
    """Writes the files of one request into the store and forgets them again if the request comes to nothing.

    Use it as a context: leaving it by an error aborts what is open and deletes what was committed.

    Parameters
    ----------
    key_of:
        From a file's number (from 1) to its key.
    refuse_archives:
        Whether a ZIP ends the request.
    """

    def __init__(
        self, store: FileStore, key_of: Callable[[int], str], limits: Limits, *, refuse_archives: bool = False
    ) -> None:
        self._store = store
        self._key_of = key_of
        self._limits = limits
        self._refuse_archives = refuse_archives
        self._open: Sink | None = None
        self._current = ""
        self.files: list[ReceivedFile] = []

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._forget()

    def _forget(self) -> None:
        # The store may be what failed; the sender must still get the answer, and repair removes what nobody owns.
        with contextlib.suppress(TransientFailure):
            if self._open is not None:
                self._open.abort()
            for file in self.files:
                self._store.delete(file.stored.key)

    def multipart(self, request: Request, field: str) -> dict[str, str]:
        """Read a form; its files, all in ``field``, go to the store.

        Returns
        -------
        The other fields.

        Raises
        ------
        Problem
            If it is not a form, is cut off, breaks a limit, or holds no file in ``field``.
        """
        content_type = parse_header(request.headers.get("Content-Type", ""))
        with _drained_on_error(request):
            if content_type.value != "multipart/form-data":
                raise Problem("unsupported_media_type", "Send files as multipart/form-data.")
            try:
                boundary = content_type.parameters.get("boundary", "")
                fields = dict(self._parts(MultipartReader(request.stream, boundary), field))
            except ClientDisconnected as error:
                raise Problem("upload_cut_off", **self._concerned()) from error
            except TransientFailure as failure:
                raise self._refused(failure) from failure
            except NotMultipart as error:
                raise Problem("bad_request", f"It is not a whole multipart form. {error}") from error
        if not self.files:
            raise Problem("no_images", f"Send files in the field “{field}”.")
        return fields

    def _parts(self, parts: Iterable[Part], field: str) -> Iterator[tuple[str, str]]:
        """Store the files of a form; gives its other fields."""
        for count, part in enumerate(parts, start=1):
            if count > self._limits.max_files + _MAX_FIELDS:
                raise Problem("too_many_files", f"At most {self._limits.max_files} in one request.")
            said = parse_header(part.headers.get("content-disposition", b"").decode("utf-8", "surrogateescape"))
            name, file_name = said.parameters.get("name"), file_name_of(said)
            if name is None:
                raise NotMultipart("A part has no Content-Disposition with a name.")
            if file_name is None:
                yield name, _field(part)
            elif name != field and file_name:
                shown = safe_text(name, 80)
                raise Problem("unexpected_field", f"Send files in the field “{field}”, not “{shown}”.")
            elif file_name:
                self._file(part.chunks, len(self.files) + 1, file_name)

    def body(self, request: Request, number: int, file_name: str) -> ReceivedFile:
        """The whole body of the request is one file."""
        with _drained_on_error(request):
            try:
                return self._file(_chunks(request.stream), number, file_name)
            except ClientDisconnected as error:
                raise Problem("upload_cut_off", **self._concerned()) from error
            except TransientFailure as failure:
                raise self._refused(failure) from failure

    def _file(self, chunks: Iterator[bytes], number: int, file_name: str) -> ReceivedFile:
        name = self._current = safe_name(file_name) or f"file {number}"
        if len(self.files) >= self._limits.max_files:
            raise Problem("too_many_files", f"At most {self._limits.max_files} in one request.", file=name)
        sink = self._open = self._store.sink(self._key_of(number))
        for chunk in self._checked(chunks, name):
            sink.write(chunk)
        file = ReceivedFile(number, name, sink.commit())
        self._open = None
        self.files.append(file)
        return file

    def _checked(self, chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
        """The same, until there are too many of them or they turn out to be an archive where none belongs."""
        head, size_bytes = b"", 0
        for chunk in chunks:
            head += chunk[: 4 - len(head)]
            if self._refuse_archives and head in _ZIP_SIGNATURES:
                raise Problem("archive_not_here", file=name)
            size_bytes += len(chunk)
            if size_bytes > self._limits.max_file_bytes:
                size_bytes += _rest_bytes(chunks)
                raise Problem("too_many_bytes", f"{above_limit(size_bytes, self._limits.max_file_bytes)}.", file=name)
            yield chunk

    def _concerned(self) -> dict[str, str]:
        """The file that was on its way, for the answer."""
        return {"file": self._current} if self._current else {}

    def _refused(self, failure: TransientFailure) -> Exception:
        """The store's trouble, told at the file it concerns."""
        if failure.code not in KINDS:
            return failure
        log.warning("while receiving: %s", failure)
        return Problem(failure.code, **self._concerned())


def file_name_of(said: HeaderValue) -> str | None:
    """What a ``Content-Disposition`` calls the file; ``None`` if it does not say that there is one.

    Bytes that are not UTF-8 come as they do from a file system (PEP 383).
    """
    if "filename" in said.extended:
        return said.extended["filename"].decode("utf-8", "surrogateescape")
    name = said.parameters.get("filename")
    # Browsers write a quote so (WHATWG, multipart/form-data).
    return None if name is None else name.replace("%22", '"')


def _field(part: Part) -> str:
    value = b""
    for chunk in part.chunks:
        value += chunk
        if len(value) > _MAX_FIELD_BYTES:
            raise Problem("request_too_large")
    return decode(value, encoding_of([value]))


def _rest_bytes(chunks: Iterator[bytes]) -> int:
    """How much more there is, to say how large a file is that is too large; it is not read on for ever."""
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > _DRAIN_BYTES:
            break
    return size_bytes


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


@contextlib.contextmanager
def _drained_on_error(request: Request) -> Iterator[None]:
    """After an error, read on for a while before answering.

    A sender that is still sending when the connection is closed sees a reset, not our answer.
    """
    try:
        yield
    except Exception:
        # Whatever went wrong, it is raised again below; this only makes sure that the sender can hear of it.
        drain(request)
        raise


def drain(request: Request) -> None:
    """Read and drop what is left of the request's body, up to a limit."""
    left = _DRAIN_BYTES
    with contextlib.suppress(HTTPException, OSError, ValueError):
        while left > 0 and (chunk := request.stream.read(_CHUNK_BYTES)):
            left -= len(chunk)
