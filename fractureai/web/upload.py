"""Files on their way from a request into the store, chunk by chunk: never a whole file in memory, never decoded."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

from flask import Request
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.formparser import FormDataParser

from fractureai.domain.ports import Sink, StoredObject
from fractureai.errors import TransientFailure
from fractureai.web.problems import KINDS, Problem

log = logging.getLogger(__name__)

MAX_NAME_LENGTH = 255
_CHUNK_BYTES = 256 * 1024
_DRAIN_BYTES = 64 * 1024 * 1024
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_UNSHOWABLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


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


def showable(name: str | None, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """A sender's name for something, fit to be shown and stored.

    Control characters, bidirectional overrides and lone surrogates go; the end stays when it is cut, for there the
    type is. It is data for people and never becomes a path.
    """
    kept = "".join(letter for letter in name or "" if unicodedata.category(letter) not in _UNSHOWABLE)
    return kept.strip()[-max_length:]


class _FileWriter:
    """What the form parser writes one file into; it hands every chunk on to the sink."""

    def __init__(self, sink: Sink, file_name: str, max_bytes: int, *, refuse_archives: bool) -> None:
        self._sink = sink
        self._file_name = file_name
        self._max_bytes = max_bytes
        self._refuse_archives = refuse_archives
        self._head = b""
        self._size_bytes = 0

    def write(self, chunk: bytes | bytearray) -> int:
        """Check the chunk and pass it on."""
        if len(self._head) < 4:
            self._head = (self._head + bytes(chunk[:4]))[:4]
            if self._refuse_archives and self._head in _ZIP_SIGNATURES:
                raise Problem("archive_not_here", file=self._file_name)
        self._size_bytes += len(chunk)
        if self._size_bytes > self._max_bytes:
            raise Problem("too_many_bytes", _at_most(self._max_bytes), file=self._file_name)
        return self._sink.write(bytes(chunk))

    def close(self) -> None:
        """Nothing to close: the sink is committed or aborted by who opened it."""


class _MultipartWriter(_FileWriter):
    """The parser calls ``seek(0)`` when a file is whole: the moment to commit, so that few sinks are open at once."""

    def __init__(self, whole: Callable[[], object], *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._whole = whole

    def seek(self, _offset: int, _whence: int = 0) -> int:
        """Commit."""
        self._whole()
        return 0


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


class _Nothing:
    """Swallows the empty part a browser sends for a file field without a file."""

    def write(self, chunk: bytes) -> int:
        return len(chunk)

    def seek(self, _offset: int, _whence: int = 0) -> int:
        return 0

    def close(self) -> None:
        """Nothing to close."""


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
        if request.mimetype != "multipart/form-data":
            raise Problem("unsupported_media_type")
        # Parts beyond the files: a handful of fields.
        parser = FormDataParser(
            stream_factory=cast(Any, self._start_part),
            # Also bounds what the parser holds while it looks for a boundary: several of its 64 KiB reads.
            max_form_memory_size=512 * 1024,
            max_form_parts=self._limits.max_files + 20,
            silent=False,
        )
        with _drained_on_error(request):
            try:
                _, form, files = parser.parse(
                    request.stream, "multipart/form-data", request.content_length, request.mimetype_params
                )
            except ClientDisconnected as error:
                raise Problem("upload_cut_off", **self._concerned()) from error
            except TransientFailure as failure:
                raise self._refused(failure) from failure
            except ValueError as error:
                raise Problem("bad_request", "It is not a whole multipart form.") from error
        strangers = sorted({showable(name, max_length=80) for name in files} - {field})
        if strangers:
            raise Problem("unexpected_field", f"Send files in the field “{field}”, not “{strangers[0]}”.")
        if not self.files:
            raise Problem("no_images", f"Send files in the field “{field}”.")
        return {name: value for name, value in form.items() if isinstance(value, str)}

    def body(self, request: Request, number: int, file_name: str) -> ReceivedFile:
        """The whole body of the request is one file."""
        name = self._current = showable(file_name) or f"file {number}"
        with _drained_on_error(request):
            try:
                sink = self._open = self._store.sink(self._key_of(number))
                writer = _FileWriter(sink, name, self._limits.max_file_bytes, refuse_archives=self._refuse_archives)
                for chunk in _chunks(request.stream):
                    writer.write(chunk)
                return self._commit(sink, number, name)
            except ClientDisconnected as error:
                raise Problem("upload_cut_off", **self._concerned()) from error
            except TransientFailure as failure:
                raise self._refused(failure) from failure

    def _start_part(self, *, filename: str | None = None, **_: object) -> IO[bytes]:
        """Begin a file; the parser's ``stream_factory``."""
        if not filename:
            return cast(IO[bytes], _Nothing())
        number = len(self.files) + 1
        name = self._current = showable(filename) or f"file {number}"
        if number > self._limits.max_files:
            raise Problem("too_many_files", f"At most {self._limits.max_files} in one request.", file=name)
        sink = self._open = self._store.sink(self._key_of(number))
        return cast(
            IO[bytes],
            _MultipartWriter(
                lambda: self._commit(sink, number, name),
                sink,
                name,
                self._limits.max_file_bytes,
                refuse_archives=self._refuse_archives,
            ),
        )

    def _concerned(self) -> dict[str, str]:
        """The file that was on its way, for the answer."""
        return {"file": self._current} if self._current else {}

    def _refused(self, failure: TransientFailure) -> Exception:
        """The store's trouble, told at the file it concerns."""
        if failure.code not in KINDS:
            return failure
        log.warning("while receiving: %s", failure)
        return Problem(failure.code, **self._concerned())

    def _commit(self, sink: Sink, number: int, name: str) -> ReceivedFile:
        file = ReceivedFile(number, name, sink.commit())
        self._open = None
        self.files.append(file)
        return file


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


def _at_most(size_bytes: int) -> str:
    return f"At most {size_bytes // (1024 * 1024)} MiB a file." if size_bytes >= 1024 * 1024 else f"{size_bytes} bytes."
