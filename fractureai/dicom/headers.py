"""What the first bytes of a data set say of where it belongs. Nothing beyond them is read, and no pixel."""

from __future__ import annotations

import re
import zlib
from io import BytesIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from fractureai.domain.identity import InstanceIdentity, uid_text

HEAD_BYTES = 1 << 20
"""How much of a data set is looked at; what precedes the UIDs is a few kilobytes."""

_UID = re.compile(r"[0-9.]{1,64}")
_LAST = 0x0020000D
_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "Modality", "StudyInstanceUID")


class NotUnderstood(Exception):
    """The bytes are no data set, or one that does not say which examination it belongs to."""


def belonging(head: bytes, transfer_syntax_uid: str) -> InstanceIdentity:
    """Read it from the first :data:`HEAD_BYTES` of an encoded data set.

    Raises
    ------
    NotUnderstood
        With a sentence for the sender of at most 64 letters.
    """
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        try:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, HEAD_BYTES)
        except zlib.error as error:
            raise NotUnderstood("the deflated data set is damaged") from error
    dataset = _read(head, syntax)
    found = {keyword: _text(dataset, keyword) for keyword in _KEYWORDS}
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"):
        if not _UID.fullmatch(found[keyword]):
            raise NotUnderstood(f"no valid {keyword}")
    modality = re.sub(r"[^A-Z0-9]", "", found["Modality"])[:16]
    return InstanceIdentity(found["SOPClassUID"], found["SOPInstanceUID"], found["StudyInstanceUID"], modality)


def _read(head: bytes, syntax: UID) -> Dataset:
    tags = [tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]

    def past(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag > _LAST

    try:
        return read_dataset(
            BytesIO(head),
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=past,
            specific_tags=[BaseTag(tag) for tag in tags],
        )
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        raise NotUnderstood("the data set cannot be read") from error


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except Exception as error:  # converted on access
        raise NotUnderstood(f"{keyword} cannot be read") from error
    if isinstance(value, Sequence):  # pydicom may take for ever to write one as text
        raise NotUnderstood(f"{keyword} is a sequence")
    return "" if value is None else uid_text(value)
