"""DICOM elements as bytes, Explicit VR Little Endian: pydicom encodes each value once, constant ones are kept.

An object is a dictionary from tag to encoded element, so that elements of a source go into a result byte for byte,
whatever character set they claim. Building the same objects as pydicom data sets, or through highdicom, costs about ten
times as much, and nearly all of an SR is the same few codes over and over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from fractureai.reports.dicom.uids import IMPLEMENTATION_UID

Elements = dict[int, bytes]

_ITEM = struct.Struct("<HHI")
_LONG = struct.Struct("<HH2sHI")
_IMPLEMENTATION_NAME = "FRACTUREAI"


def elements(**values: Any) -> Elements:
    """Encode elements by keyword: text, numbers or lists of them; for a sequence a list of encoded items.

    ``None`` is an empty value. Text must be ASCII: it lies beside text of any character set.
    """
    return dict(_element(keyword, value) for keyword, value in values.items())


def copied(dataset: Dataset, tags: Sequence[int] | frozenset[int]) -> Elements:
    """The elements of a data set that was read, as they stand; those it does not have are left out."""
    return {int(tag): _written(dataset.get_item(tag)) for tag in sorted(tags) if tag in dataset}


def binary(keyword: str, data: bytes) -> Elements:
    """A large value of bytes, padded to an even length."""
    tag, vr = _entry(keyword)
    padded = data + b"\0" * (len(data) % 2)
    return {tag: _LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(padded)) + padded}


def frame(data: bytes) -> Elements:
    """Pixel Data of one compressed frame: an empty offset table and one fragment (PS3.5 section A.4)."""
    tag, _ = _entry("PixelData")
    padded = data + b"\0" * (len(data) % 2)
    head = _LONG.pack(tag >> 16, tag & 0xFFFF, b"OB", 0, 0xFFFFFFFF) + _ITEM.pack(0xFFFE, 0xE000, 0)
    return {tag: head + _ITEM.pack(0xFFFE, 0xE000, len(padded)) + padded + _ITEM.pack(0xFFFE, 0xE0DD, 0)}


def joined(*parts: Elements) -> bytes:
    """One data set, in order of the tags; of an element that is there twice the later counts."""
    merged: Elements = {}
    for part in parts:
        merged |= part
    return b"".join(merged[tag] for tag in sorted(merged))


def part_10(
    data_set: bytes, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str = ExplicitVRLittleEndian
) -> bytes:
    """A file (PS3.10 section 7.1)."""
    version = binary("FileMetaInformationVersion", b"\0\1")
    meta = joined(
        version,
        elements(
            MediaStorageSOPClassUID=sop_class_uid,
            MediaStorageSOPInstanceUID=sop_instance_uid,
            TransferSyntaxUID=str(transfer_syntax_uid),
            ImplementationClassUID=IMPLEMENTATION_UID,
            ImplementationVersionName=_IMPLEMENTATION_NAME,
        ),
    )
    length = joined(elements(FileMetaInformationGroupLength=len(meta)))
    return b"".join([b"\0" * 128, b"DICM", length, meta, data_set])


def _element(keyword: str, value: Any) -> tuple[int, bytes]:
    tag, vr = _entry(keyword)
    if vr == "SQ":
        return tag, _sequence(tag, value or ())
    if isinstance(value, list):
        value = tuple(value)
    return tag, _leaf(tag, vr, value)


@lru_cache(maxsize=1024)
def _entry(keyword: str) -> tuple[int, str]:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"not a DICOM keyword: {keyword}")
    vr = dictionary_VR(tag)
    return int(tag), "OB" if vr == "OB or OW" else vr


@lru_cache(maxsize=4096, typed=True)
def _leaf(tag: int, vr: str, value: Any) -> bytes:
    held = list(value) if isinstance(value, tuple) else value
    return _written(DataElement(tag, vr, held, validation_mode=config.RAISE))


def _written(element: DataElement | RawDataElement) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_data_element(stream, element)
    written: bytes = stream.getvalue()
    return written


def _sequence(tag: int, items: Sequence[Elements]) -> bytes:
    bodies = [joined(item) for item in items]
    content = b"".join(_ITEM.pack(0xFFFE, 0xE000, len(body)) + body for body in bodies)
    return _LONG.pack(tag >> 16, tag & 0xFFFF, b"SQ", 0, len(content)) + content


def as_tag(keyword: str) -> int:
    """The tag of a keyword."""
    return int(Tag(_entry(keyword)[0]))
