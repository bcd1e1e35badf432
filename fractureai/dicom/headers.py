"""What a data set says of where it belongs, read from as few of its first bytes as that takes; never a pixel."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO, Generic, TypeVar

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fractureai.domain.identity import InstanceIdentity, uid_text
from fractureai.domain.sizes import binary_size

HEAD_BYTES = 1 << 20
"""How much of a data set is held in memory; what precedes the UIDs is a few kilobytes, nearly always."""
MOST_HEAD_BYTES = 64 << 20
"""How much is looked at where private data precede the UIDs, in a temporary file."""
_MOST_READS = 100_000

_UID = re.compile(r"[0-9.]{1,64}")
_LAST = 0x0020000D
_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "Modality", "StudyInstanceUID")


Found = TypeVar("Found")


class NotUnderstood(Exception):
    """The bytes are no data set, or one that does not say which examination it belongs to."""


class Head(Generic[Found]):
    """The beginning of a data set on its way, as much of it as tells where it belongs.

    Parameters
    ----------
    read:
        Tells it from a stream, and from whether that is the whole data set; what it raises is raised by
        :meth:`identify`.
    """

    def __init__(self, read: Callable[[BinaryIO, bool], Found]) -> None:
        self._read = read
        self._file: BinaryIO = BytesIO()
        self._found: Found | None = None
        self._is_whole = True

    def write(self, chunk: bytes) -> None:
        """Take a chunk."""
        if self._found is not None:
            return
        held_bytes = self._file.tell()
        if held_bytes < HEAD_BYTES:
            room = HEAD_BYTES - held_bytes
            self._file.write(chunk[:room])
            chunk = chunk[room:]
            if self._file.tell() == HEAD_BYTES:
                self._look_early()
        if chunk and self._found is None:
            room = MOST_HEAD_BYTES - self._file.tell()
            self._is_whole = len(chunk) <= room
            self._file.write(chunk[:room])

    def identify(self) -> Found:
        """What was found. Raises what reading raises."""
        if self._found is None:
            self._file.seek(0)
            self._found = self._read(self._file, self._is_whole)
            self._file.close()
        return self._found

    def __del__(self) -> None:
        self._file.close()

    def _look_early(self) -> None:
        held = self._file
        try:
            self._is_whole = False
            self.identify()
        except Exception:  # whatever it is, the rest may tell more; if not, it is raised in the end
            held.seek(0)
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with this object
            self._file.write(held.read())
            self._is_whole = True


class _Bounded:
    """A stream that is read a bounded number of times: elements without end must not keep a thread busy."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._reads_left = _MOST_READS
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size_bytes: int = -1) -> bytes:
        """Raises ``ValueError`` when it has been asked too often."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ValueError("too many elements")
        return self._stream.read(size_bytes)


def belonging(stream: BinaryIO, transfer_syntax_uid: str, *, is_whole: bool) -> InstanceIdentity:
    """Read it from an encoded data set, or the beginning of one.

    Parameters
    ----------
    is_whole:
        If not, what the beginning ends with may be cut off, and counts only if something follows it.

    Raises
    ------
    NotUnderstood
        With a sentence for the sender of at most 64 letters.
    """
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        try:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            stream = BytesIO(inflater.decompress(stream.read(), MOST_HEAD_BYTES))
            is_whole = is_whole and not inflater.unconsumed_tail
        except zlib.error as error:
            raise NotUnderstood("the deflated data set is damaged") from error
    dataset, is_past = _read(stream, syntax)
    if not (is_past or is_whole):
        raise NotUnderstood(f"its UIDs are not in the first {binary_size(MOST_HEAD_BYTES)}")
    found = {keyword: _text(dataset, keyword) for keyword in _KEYWORDS}
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"):
        if not _UID.fullmatch(found[keyword]):
            raise NotUnderstood(f"no valid {keyword}")
    modality = re.sub(r"[^A-Z0-9]", "", found["Modality"])[:16]
    return InstanceIdentity(found["SOPClassUID"], found["SOPInstanceUID"], found["StudyInstanceUID"], modality)


def _read(stream: BinaryIO, syntax: UID) -> tuple[Dataset, bool]:
    """The elements that are wanted, and whether something follows them."""
    is_past = False
    tags = [tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]

    def past(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal is_past
        is_past = bool(tag > _LAST)
        return is_past

    try:
        dataset = read_dataset(
            _Bounded(stream),  # type: ignore[arg-type]
            syntax == ImplicitVRLittleEndian,
            syntax != ExplicitVRBigEndian,
            stop_when=past,
            specific_tags=[BaseTag(tag) for tag in tags],
        )
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        raise NotUnderstood("the data set cannot be read") from error
    return dataset, is_past


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except Exception as error:  # converted on access
        raise NotUnderstood(f"{keyword} cannot be read") from error
    if isinstance(value, Sequence):  # pydicom may take for ever to write one as text
        raise NotUnderstood(f"{keyword} is a sequence")
    return "" if value is None else uid_text(value)
