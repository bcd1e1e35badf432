"""The ``ArchiveReader`` port: members out of an untrusted ZIP, by position, never by name.

The directory is read by :mod:`zipfile`; the members are streamed here, so that every byte is counted as it comes and
what the archive says about itself is only ever used to refuse it.
"""

from __future__ import annotations

import errno
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fractureai.domain.ports import Member, Sink
from fractureai.domain.reasons import Reason
from fractureai.errors import RejectedInput
from fractureai.imaging.limits import ArchiveLimits
from fractureai.imaging.text import clean

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_NESTED = (b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x1f\x8b\x08", b"\xfd7zXZ\x00")
_ENCRYPTED = 0x1 | 0x40
_UTF8 = 0x800
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_CHUNK_BYTES = 256 * 1024
_MAX_NAME_CHARACTERS = 200

_JUNK_NAMES = frozenset({"thumbs.db", "desktop.ini", "dicomdir", "ehthumbs.db", "icon"})
_JUNK_FOLDERS = frozenset({"__macosx", "$recycle.bin", "system volume information"})

Skipped = tuple[str, Reason]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is needed of one directory entry."""

    name: str
    flags: int
    method: int
    mode: int
    is_folder: bool
    header_at: int
    packed_bytes: int
    unpacked_bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class _Directory:
    """The directory of the archive that was read last; reading it for every member would be quadratic."""

    identity: tuple[str, int, int, int]
    entries: tuple[_Entry, ...]


class ZipArchiveReader:
    """Reads ZIP archives within limits. Safe to share between threads.

    Parameters
    ----------
    limits:
        Of every archive.
    """

    def __init__(self, limits: ArchiveLimits | None = None) -> None:
        self.limits = limits or ArchiveLimits()
        self._latest = threading.local()

    def is_archive(self, path: Path) -> bool:
        """Whether the file starts like a ZIP. A picture with an archive behind it is a picture."""
        with path.open("rb") as file:
            return file.read(4) in _MAGIC

    def members(self, path: Path) -> tuple[list[Member], list[Skipped]]:
        """What to read, in the archive's order, and what was skipped and why.

        Members are numbered from 1 by their place, so that two of the same name stay two.

        Raises
        ------
        RejectedInput
            ``damaged``, ``archive_too_many``, ``archive_too_large``.
        """
        entries = self._entries(path)
        if sum(entry.unpacked_bytes for entry in entries) > self.limits.max_unpacked_bytes:
            raise RejectedInput("archive_too_large", f"more than {self.limits.max_unpacked_bytes} bytes unpacked")
        _refuse_overlaps(entries)
        kept: list[Member] = []
        skipped: list[Skipped] = []
        for number, entry in enumerate(entries, start=1):
            name = shown_name(entry)
            reason = self._why_not(entry)
            if reason is not None:
                skipped.append((name, reason))
            elif not entry.is_folder:
                kept.append(Member(name, number))
        return kept, skipped

    def extract(self, path: Path, member: Member, sink: Sink) -> None:
        """Stream one member into a sink; the caller commits.

        Raises
        ------
        RejectedInput
            ``damaged``, ``archive_nested``, ``archive_too_large``, or the reason it would have been skipped for.
        """
        entries = self._entries(path)
        if not 1 <= member.number <= len(entries):
            raise RejectedInput("damaged", "no such member")
        entry = entries[member.number - 1]
        reason = self._why_not(entry)
        if reason is not None:
            raise RejectedInput(reason.code, reason.detail)
        crc = size_bytes = 0
        with path.open("rb") as file:
            for chunk in self._unpack(file, entry):
                if size_bytes == 0 and chunk.startswith(_NESTED):
                    raise RejectedInput("archive_nested")
                crc = zlib.crc32(chunk, crc)
                size_bytes += len(chunk)
                sink.write(chunk)
        if size_bytes != entry.unpacked_bytes or crc != entry.crc:
            raise RejectedInput("damaged", "the archive member's checksum is wrong")

    def _why_not(self, entry: _Entry) -> Reason | None:
        """The reason to leave a member out, ``None`` to read it or for a plain folder."""
        kind = stat.S_IFMT(entry.mode)
        packed = max(1, entry.packed_bytes)
        is_bomb = entry.unpacked_bytes > self.limits.ratio_from_bytes and (
            entry.unpacked_bytes / packed > self.limits.max_ratio
        )
        checks = (
            (_is_junk(entry), "archive_member_skipped", ""),
            (kind not in {0, stat.S_IFREG, stat.S_IFDIR}, "archive_member_skipped", "a link or a device"),
            (entry.name.count("/") > self.limits.max_depth, "archive_member_skipped", "too many folders deep"),
            (bool(entry.flags & _ENCRYPTED) and not entry.is_folder, "archive_encrypted", ""),
            (entry.unpacked_bytes > self.limits.max_member_bytes, "too_many_bytes", f"{entry.unpacked_bytes} bytes"),
            (is_bomb, "archive_too_large", f"{entry.unpacked_bytes // packed} times its packed size"),
            (
                entry.method not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED},
                "unsupported_encoding",
                "a compression other than deflate",
            ),
        )
        return next((Reason(code, detail) for hit, code, detail in checks if hit), None)

    def _unpack(self, file: BinaryIO, entry: _Entry) -> Iterator[bytes]:
        """The member's bytes in chunks; never more than it declares."""
        left = entry.unpacked_bytes
        packed = _packed(file, entry)
        chunks = packed if entry.method == zipfile.ZIP_STORED else _inflated(packed)
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise RejectedInput("damaged", "the archive member is larger than it says")
            yield chunk

    def _entries(self, path: Path) -> tuple[_Entry, ...]:
        status = path.stat()
        identity = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        latest: _Directory | None = getattr(self._latest, "directory", None)
        if latest is None or latest.identity != identity:
            latest = _Directory(identity, _read_directory(path, self.limits))
            self._latest.directory = latest
        return latest.entries


def shown_name(entry: _Entry) -> str:
    """The member's name for people: one safe line, without the steps out of the folder that some names hold."""
    name = entry.name
    if not entry.flags & _UTF8:
        # Without the flag the standard says code page 437; macOS and Linux write UTF-8 all the same.
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = entry.name
    # The end stays when it is cut, for there the type is.
    parts = (clean(part, len(part)) for part in name[-4 * _MAX_NAME_CHARACTERS :].replace("\\", "/").split("/"))
    shown = "/".join(part for part in parts if part not in {"", ".", ".."})
    return shown[-_MAX_NAME_CHARACTERS:] or "unnamed"


def _is_junk(entry: _Entry) -> bool:
    """What operating systems leave in archives, and the index of a DICOM medium. Plain folders are no junk."""
    if entry.is_folder:
        return False
    *folders, name = entry.name.replace("\\", "/").split("/")
    if any(folder.lower() in _JUNK_FOLDERS for folder in folders):
        return True
    return name.startswith(".") or name.rstrip("\r").lower() in _JUNK_NAMES


def _read_directory(path: Path, limits: ArchiveLimits) -> tuple[_Entry, ...]:
    try:
        with path.open("rb") as file:
            _check_directory_size(file, limits)
            with zipfile.ZipFile(file) as archive:
                _check_count(len(archive.infolist()), limits)
                return tuple(_entry(info) for info in archive.infolist())
    except (RejectedInput, MemoryError):
        raise
    except OSError as error:
        # A lying directory makes zipfile seek to places that no file has; anything else is our disk's trouble.
        if error.errno != errno.EINVAL:
            raise
        raise RejectedInput("damaged", "the archive's directory cannot be read") from error
    except Exception as error:  # zipfile raises any built-in type on hostile bytes; all mean the same.
        raise RejectedInput("damaged", "the archive's directory cannot be read") from error


def _check_directory_size(file: BinaryIO, limits: ArchiveLimits) -> None:
    """Refuse before ``ZipFile`` reads the whole directory into memory.

    ``_EndRecData`` is private, but it is what ``ZipFile`` itself goes by: a search of our own could find another end
    record than it does, and check the wrong one.
    """
    record = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if record is None:
        raise RejectedInput("damaged", "the archive's directory is missing")
    members, size_bytes = record[zipfile._ECD_ENTRIES_TOTAL], record[zipfile._ECD_SIZE]  # type: ignore[attr-defined]
    _check_count(members, limits)
    if size_bytes > limits.max_directory_bytes:
        raise RejectedInput("archive_too_many", f"a directory of {size_bytes} bytes")


def _check_count(members: int, limits: ArchiveLimits) -> None:
    if members > limits.max_members:
        raise RejectedInput("archive_too_many", f"{members} members")


def _entry(info: zipfile.ZipInfo) -> _Entry:
    is_unix = info.create_system == 3
    return _Entry(
        name=info.filename,
        flags=info.flag_bits,
        method=info.compress_type,
        mode=info.external_attr >> 16 if is_unix else 0,
        # ZipInfo.is_dir() fails on a member without a name.
        is_folder=info.filename.endswith("/"),
        header_at=info.header_offset,
        packed_bytes=info.compress_size,
        unpacked_bytes=info.file_size,
        crc=info.CRC,
    )


def _refuse_overlaps(entries: tuple[_Entry, ...]) -> None:
    """Refuse members that share bytes: the trick of bombs that need no nesting (Fifield, WOOT 2019)."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_at):
        if entry.header_at < end:
            raise RejectedInput("damaged", "archive members overlap")
        end = entry.header_at + _LOCAL_HEADER.size + entry.packed_bytes


def _packed(file: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    """The member's bytes as they lie in the archive."""
    try:
        file.seek(entry.header_at)
    except (OverflowError, ValueError, OSError) as error:  # zip64 has room for offsets that no file can have
        raise RejectedInput("damaged", "the archive member's header is missing") from error
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise RejectedInput("damaged", "the archive member's header is missing")
    *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    file.seek(name_bytes + extra_bytes, 1)
    left = entry.packed_bytes
    while left:
        chunk = file.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise RejectedInput("damaged", "the archive ends within this member")
        left -= len(chunk)
        yield chunk


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Inflate in bounded steps: what one chunk becomes is never in memory whole."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            rest = chunk
            while rest and not inflater.eof:
                if piece := inflater.decompress(rest, _CHUNK_BYTES):
                    yield piece
                rest = inflater.unconsumed_tail
        while not inflater.eof and (piece := inflater.decompress(b"", _CHUNK_BYTES)):
            yield piece
    except zlib.error as error:
        raise RejectedInput("damaged", "the archive member cannot be inflated") from error
    if not inflater.eof:
        raise RejectedInput("damaged", "the archive member ends early")
