"""The ``ArchiveReader`` port: members out of an untrusted ZIP, by position, never by name.

Members are streamed, so that every byte is counted as it comes and what the archive says about itself is only ever used
to refuse it.
"""

from __future__ import annotations

import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fractureai.domain.contents import SKIPPED, Content, FoundContent
from fractureai.domain.ports import Member, Sink
from fractureai.domain.reasons import Reason
from fractureai.domain.sizes import above_limit, binary_size
from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.archive_directory import Entry, read_directory
from fractureai.imaging.limits import ArchiveLimits

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_ENCRYPTED = 0x1 | 0x40
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_CHUNK_BYTES = 256 * 1024
_PEEK_BYTES = 4 * 1024

Skipped = tuple[str, Reason]


@dataclass(frozen=True, slots=True)
class _Directory:
    """The directory of the archive that was read last; reading it for every member would be quadratic."""

    identity: tuple[str, int, int, int]
    entries: tuple[Entry, ...]


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

    def content_of(self, path: Path, name: str) -> FoundContent:
        """What a file that came with others is."""
        with path.open("rb") as file:
            return media.content_of(name, file.read(media.HEAD_BYTES))

    def members(self, path: Path) -> tuple[list[Member], list[Skipped]]:
        """What to read, in the archive's order, and what is left out and why: every member but plain folders.

        Members are numbered from 1 by their place, so that two of the same name stay two.

        Raises
        ------
        RejectedInput
            ``damaged``, ``archive_too_many``, ``archive_too_large``.
        """
        entries = self._entries(path)
        if sum(entry.unpacked_bytes for entry in entries) > self.limits.max_unpacked_bytes:
            raise RejectedInput(
                "archive_too_large", f"more than {binary_size(self.limits.max_unpacked_bytes)} unpacked"
            )
        _refuse_overlaps(entries)
        kept: list[Member] = []
        skipped: list[Skipped] = []
        with path.open("rb") as file:
            for number, entry in enumerate(entries, start=1):
                if entry.is_folder:
                    continue
                found = _content(file, entry)
                reason = Reason(SKIPPED, found.kind) if found.content is Content.NO_IMAGE else self._why_not(entry)
                if reason is None and found.content is Content.ARCHIVE:
                    reason = Reason("archive_nested")
                if reason is not None:
                    skipped.append((entry.name, reason))
                else:
                    kept.append(Member(entry.name, number, found.content))
        return kept, skipped

    def extract(self, path: Path, member: Member, sink: Sink) -> None:
        """Stream one member into a sink; the caller commits.

        Raises
        ------
        RejectedInput
            ``damaged``, ``archive_too_large``, or the reason it would have been skipped for.
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
                crc = zlib.crc32(chunk, crc)
                size_bytes += len(chunk)
                sink.write(chunk)
        if size_bytes != entry.unpacked_bytes or crc != entry.crc:
            raise RejectedInput("damaged", "the archive member's checksum is wrong")

    def _why_not(self, entry: Entry) -> Reason | None:
        """The reason to leave a member out, ``None`` to read it or for a plain folder."""
        packed = max(1, entry.packed_bytes)
        is_bomb = entry.unpacked_bytes > self.limits.ratio_from_bytes and (
            entry.unpacked_bytes / packed > self.limits.max_ratio
        )
        too_large = above_limit(entry.unpacked_bytes, self.limits.max_member_bytes)
        checks = (
            (entry.is_special, "archive_member_skipped", "a link or a device"),
            (entry.path.count("/") > self.limits.max_depth, "archive_member_skipped", "too many folders deep"),
            (bool(entry.flags & _ENCRYPTED), "archive_encrypted", ""),
            (entry.unpacked_bytes > self.limits.max_member_bytes, "too_many_bytes", too_large),
            (is_bomb, "archive_too_large", f"{entry.unpacked_bytes // packed} times its packed size"),
            (
                entry.method not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED},
                "unsupported_encoding",
                "a compression other than deflate",
            ),
        )
        return next((Reason(code, detail) for hit, code, detail in checks if hit), None)

    def _unpack(self, file: BinaryIO, entry: Entry) -> Iterator[bytes]:
        """The member's bytes in chunks; never more than it declares."""
        left = entry.unpacked_bytes
        packed = _packed(file, entry)
        chunks = packed if entry.method == zipfile.ZIP_STORED else _inflated(packed)
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise RejectedInput("damaged", "the archive member is larger than it says")
            yield chunk

    def _entries(self, path: Path) -> tuple[Entry, ...]:
        status = path.stat()
        identity = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        latest: _Directory | None = getattr(self._latest, "directory", None)
        if latest is None or latest.identity != identity:
            latest = _Directory(identity, read_directory(path, self.limits))
            self._latest.directory = latest
        return latest.entries


def _refuse_overlaps(entries: tuple[Entry, ...]) -> None:
    """Refuse members that share bytes: the trick of bombs that need no nesting (Fifield, WOOT 2019)."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_at):
        if entry.header_at < end:
            raise RejectedInput("damaged", "archive members overlap")
        end = entry.header_at + _LOCAL_HEADER.size + entry.packed_bytes


def _packed(file: BinaryIO, entry: Entry, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[bytes]:
    """The member's bytes as they are in the archive."""
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
        chunk = file.read(min(left, chunk_bytes))
        if not chunk:
            raise RejectedInput("damaged", "the archive ends within this member")
        left -= len(chunk)
        yield chunk


def _content(file: BinaryIO, entry: Entry) -> FoundContent:
    return FoundContent(Content.UNKNOWN) if entry.is_special else media.content_of(entry.path, _head(file, entry))


def _head(file: BinaryIO, entry: Entry) -> bytes:
    """The first bytes of a member; ``b""`` where they cannot be had, which reading it whole will tell."""
    if entry.flags & _ENCRYPTED:
        return b""
    try:
        packed = next(_packed(file, entry, _PEEK_BYTES), b"")
        if entry.method == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, media.HEAD_BYTES)
    except (RejectedInput, zlib.error):
        return b""
    return packed[: media.HEAD_BYTES] if entry.method == zipfile.ZIP_STORED else b""


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
