"""The central directory of a ZIP archive (APPNOTE.TXT sections 4.3 to 4.5): what its members are called, and where.

:mod:`zipfile` finds the directory, but reads it too strictly for archives of many tools: one name that is not the UTF-8
it claims, or one odd extra field, and none of the members can be had.
"""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fractureai.domain.name_encoding import decode, encoding_of, repaired
from fractureai.domain.names import safe_name
from fractureai.domain.sizes import binary_size
from fractureai.errors import RejectedInput
from fractureai.imaging.limits import ArchiveLimits

_CENTRAL_HEADER = struct.Struct("<4s6H3I5H2I")
_UNICODE_PATH = struct.Struct("<BI")
_UTF8 = 0x800
_ZIP64, _INFO_ZIP_UNICODE_PATH = 0x0001, 0x7075
_MAX_32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """What is needed of one directory entry; ``name`` is for people, ``path`` with all its steps."""

    name: str
    path: str
    flags: int
    method: int
    mode: int
    is_folder: bool
    header_at: int
    packed_bytes: int
    unpacked_bytes: int
    crc: int

    @property
    def is_special(self) -> bool:
        """Whether it is a link or a device."""
        return stat.S_IFMT(self.mode) not in {0, stat.S_IFREG, stat.S_IFDIR}


@dataclass(frozen=True, slots=True)
class _Raw:
    """An entry whose name is not decoded yet."""

    name: bytes
    is_utf8: bool
    rest: tuple[int, ...]
    """Flags, method, mode, offset of the header, packed and unpacked size, checksum."""


def read_directory(path: Path, limits: ArchiveLimits) -> tuple[Entry, ...]:
    """The members in the archive's order.

    Raises
    ------
    RejectedInput
        ``damaged``, ``archive_too_many``.
    """
    try:
        with path.open("rb") as file:
            data, shift = _directory(file, limits)
        raw = list(_entries(data, shift, limits))
    except OSError as error:
        # A lying directory leads to places that no file has; anything else is our disk's trouble.
        if error.errno != errno.EINVAL:
            raise
        raise RejectedInput("damaged", "the archive's directory cannot be read") from error
    except (struct.error, ValueError, OverflowError) as error:
        raise RejectedInput("damaged", "the archive's directory cannot be read") from error
    # Those without the flag are in one encoding, for one program packed them.
    encoding = encoding_of(entry.name for entry in raw if not entry.is_utf8)
    return tuple(_entry(entry, encoding) for entry in raw)


def _directory(file: BinaryIO, limits: ArchiveLimits) -> tuple[bytes, int]:
    """The bytes of the directory, and how far offsets are off because something precedes the archive.

    ``_EndRecData`` is private, but it is what :mod:`zipfile` itself goes by, 64-bit records included.
    """
    record = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if record is None:
        raise RejectedInput("damaged", "the archive's directory is missing")
    signature, members = record[0], record[4]
    size_bytes, offset, end = record[5], record[6], record[9]
    _check_count(members, limits)
    if size_bytes > limits.max_directory_bytes:
        raise RejectedInput("archive_too_many", f"a directory of {binary_size(size_bytes)}")
    if signature == zipfile.stringEndArchive64:  # type: ignore[attr-defined]
        end -= zipfile.sizeEndCentDir64 + zipfile.sizeEndCentDir64Locator  # type: ignore[attr-defined]
    file.seek(end - size_bytes)
    return file.read(size_bytes), end - size_bytes - offset


def _check_count(members: int, limits: ArchiveLimits) -> None:
    if members > limits.max_members:
        raise RejectedInput("archive_too_many", f"{members} members")


def _entries(data: bytes, shift: int, limits: ArchiveLimits) -> Iterator[_Raw]:
    at = count = 0
    while at < len(data):
        count += 1
        _check_count(count, limits)
        fields = _CENTRAL_HEADER.unpack_from(data, at)
        signature, made_by, _, flags, method, _, _, crc, packed, unpacked, *sizes = fields[:13]
        if signature != b"PK\x01\x02":
            raise ValueError("not an entry of a directory")
        *_, attributes, header_at = fields
        at += _CENTRAL_HEADER.size
        name_size, extra_size, comment_size = sizes
        name, extra = data[at : at + name_size], data[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + comment_size
        if at > len(data):
            raise ValueError("the directory ends within an entry")
        extras = dict(_extras(extra))
        unpacked, packed, header_at = _in_64_bits((unpacked, packed, header_at), extras.get(_ZIP64, b""))
        mode = attributes >> 16 if made_by >> 8 == 3 else 0  # of Unix
        unicode_name = _unicode_name(name, extras.get(_INFO_ZIP_UNICODE_PATH, b""))
        is_utf8 = unicode_name is not None or bool(flags & _UTF8)
        rest = (flags, method, mode, header_at + shift, packed, unpacked, crc)
        yield _Raw(name if unicode_name is None else unicode_name, is_utf8, rest)


def _extras(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Extra fields by their ids; what is not one ends them."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        yield kind, extra[at + 4 : at + 4 + size]
        at += 4 + size


def _in_64_bits(values: tuple[int, int, int], extra: bytes) -> Iterator[int]:
    """Sizes and offset; those that do not fit 32 bits follow in the extra field, in this order."""
    at = 0
    for value in values:
        if value == _MAX_32 and extra:
            (value,) = struct.unpack_from("<Q", extra, at)
            at += 8
        yield value


def _unicode_name(name: bytes, extra: bytes) -> bytes | None:
    """The name in UTF-8 that Info-ZIP writes beside the old one, if it is of this one."""
    if len(extra) <= _UNICODE_PATH.size:
        return None
    version, crc = _UNICODE_PATH.unpack_from(extra)
    return extra[_UNICODE_PATH.size :] if version == 1 and crc == zlib.crc32(name) else None


def _entry(raw: _Raw, encoding: str | None) -> Entry:
    flags, method, mode, header_at, packed, unpacked, crc = raw.rest
    # Steps are told after decoding: in CP932, GBK and Big5 a backslash may be the second half of a letter.
    path = repaired(decode(raw.name, None if raw.is_utf8 else encoding)).replace("\\", "/")
    is_folder = path.endswith("/")
    return Entry(safe_name(path) or "unnamed", path, flags, method, mode, is_folder, header_at, packed, unpacked, crc)
