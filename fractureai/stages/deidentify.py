"""deidentify: a store in front of the store, which no image reaches with a name in it.

Every way in writes what it received under a handful of keys. At a site that wants it, a write there goes to a private
temporary file first, and what is committed to the store is the file without what says whose it is: nothing behind the
intake, and no worker, ever sees the original. A file that cannot be rid of it is not kept; something that says so
stands in its place, so that it still ends as a reason.
"""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from fractureai.domain.contents import SKIPPED, not_kept
from fractureai.domain.ports import ArchiveReader, Deidentifier, ObjectStore, Sink, StoredObject
from fractureai.domain.reasons import Reason
from fractureai.errors import RejectedInput

_LOG = logging.getLogger(__name__)

_RECEIVED = re.compile(r"sites/([a-z0-9-]+)/(?:studies/[0-9a-f]{32}/source/|batches/[0-9a-f]{32}/uploads/|arrivals/)")
_COPY_BYTES = 1 << 18
# What is kept in the place of a file: the stages say of it what they would have said of the file.
_UNKNOWN = b"\0not kept"
_NO_DICOM = b"\0" * 128 + b"DICM"
_NO_ARCHIVE = b"PK\x03\x04 not kept"


class DeidentifyingStore:
    """The ``ObjectStore`` port over another one.

    Parameters
    ----------
    wanted:
        Whether a site wants it.
    folder:
        Where originals lie while they are worked on; by default the system's temporary folder.
    """

    def __init__(
        self,
        inner: ObjectStore,
        deidentifier: Deidentifier,
        archives: ArchiveReader,
        wanted: Callable[[str], bool],
        folder: Path | None = None,
    ) -> None:
        self._inner = inner
        self._deidentifier = deidentifier
        self._archives = archives
        self._wanted = wanted
        self._folder = folder

    def sink(self, key: str) -> Sink:
        found = _RECEIVED.match(key)
        if found is None or not self._wanted(found[1]):
            return self._inner.sink(key)
        return _Cleaning(self, key, found[1], self._folder)

    def put(self, key: str, data: bytes) -> StoredObject:
        found = _RECEIVED.match(key)
        if found is None or not self._wanted(found[1]):
            return self._inner.put(key, data)
        sink = self.sink(key)
        try:
            sink.write(data)
            return sink.commit()
        finally:
            sink.abort()

    def clean(self, original: Path, site: str, key: str) -> StoredObject:
        """Store what may be kept of a file."""
        sink = self._inner.sink(key)
        try:
            if self._archives.is_archive(original):
                self._archive(original, site, sink)
            else:
                self._file(original, site, sink.write)
            return sink.commit()
        finally:
            sink.abort()

    def _file(self, original: Path, site: str, write: Callable[[bytes], object]) -> None:
        try:
            self._deidentifier.rewrite(original, site, write)
        except RejectedInput as error:
            _LOG.info("a file was not kept: %s", error)
            write(self._in_place_of(original) if error.code in {"unknown_type", "empty_file"} else _NO_DICOM)

    def _in_place_of(self, original: Path) -> bytes:
        kind = self._archives.content_of(original, "").kind
        return not_kept(kind) if kind else _UNKNOWN

    def _archive(self, original: Path, site: str, sink: Sink) -> None:
        """The archive again, with clean members under names that say nothing."""
        try:
            members, others = self._archives.members(original)
        except RejectedInput:
            sink.write(_NO_ARCHIVE)
            return
        with tempfile.TemporaryFile(dir=self._folder) as packed:
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
                for member in members:
                    with (
                        self._unpacked(original, member) as path,
                        archive.open(
                            zipfile.ZipInfo(self._deidentifier.file_name(site, member.name)), "w", force_zip64=True
                        ) as out,
                    ):
                        self._file(path, site, out.write)
                for name, reason in others:
                    archive.writestr(zipfile.ZipInfo(self._deidentifier.file_name(site, name)), _left_out(reason))
            packed.seek(0)
            while chunk := packed.read(_COPY_BYTES):
                sink.write(chunk)

    @contextlib.contextmanager
    def _unpacked(self, original: Path, member: object) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(dir=self._folder) as file:
            try:
                self._archives.extract(original, member, _ToFile(file))  # type: ignore[arg-type]
            except RejectedInput:
                file.truncate(0)
            file.flush()
            yield Path(file.name)

    def get(self, key: str) -> bytes:
        return self._inner.get(key)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._inner.open(key)

    def size_bytes(self, key: str) -> int | None:
        return self._inner.size_bytes(key)

    def as_file(self, key: str) -> AbstractContextManager[Path]:
        return self._inner.as_file(key)

    def copy(self, source: str, target: str) -> None:
        self._inner.copy(source, target)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return self._inner.keys(prefix)

    def __getattr__(self, name: str) -> object:
        """What else the store can do, such as being asked whether it is there."""
        return getattr(self._inner, name)


def _left_out(reason: Reason) -> bytes:
    if reason.code == SKIPPED:
        return not_kept(reason.detail)
    return _NO_ARCHIVE if reason.code == "archive_nested" else _NO_DICOM


class _Cleaning:
    """A write that is cleaned when it is whole."""

    def __init__(self, store: DeidentifyingStore, key: str, site: str, folder: Path | None) -> None:
        self._store = store
        self._key = key
        self._site = site
        self._file = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 -- closed by commit or abort

    def write(self, chunk: bytes, /) -> int:
        return self._file.write(chunk)

    def commit(self) -> StoredObject:
        try:
            self._file.flush()
            return self._store.clean(Path(self._file.name), self._site, self._key)
        finally:
            self.abort()

    def abort(self) -> None:
        self._file.close()


class _ToFile:
    """A file as the sink that an archive is extracted to."""

    def __init__(self, file: object) -> None:
        self._file = file

    def write(self, chunk: bytes, /) -> int:
        return int(self._file.write(chunk))  # type: ignore[attr-defined]

    def commit(self) -> StoredObject:
        raise NotImplementedError

    def abort(self) -> None:
        """Nothing to forget."""
