"""What results in the same study need of a source's header, taken over as it stands.

Text keeps its bytes, so that a name in any character set, or a wrong one, is the same in the source and in the result.
The outcome is a small data set in Explicit VR Little Endian without file meta information; pixels, private elements and
whatever is not listed stay behind.
"""

from __future__ import annotations

import contextlib
import warnings

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_data_element
from pydicom.tag import BaseTag, Tag

from fractureai.domain.dicom_attributes import IMAGE, PATIENT_AND_STUDY, TABLES

MAX_BYTES = 192 * 1024
_MAX_ELEMENT_BYTES = 16 * 1024


def _tags(keywords: tuple[str, ...]) -> list[BaseTag]:
    return sorted(Tag(tag) for tag in map(tag_for_keyword, keywords) if tag is not None)


_PLAIN = _tags((*PATIENT_AND_STUDY, *IMAGE))
# Left out together where they are too large: without them an image is only shown with another window.
_LARGE = _tags(TABLES)


def read_context(dataset: Dataset) -> bytes:
    """The elements of the list that the file has and that can be written again, in order of their tags.

    Returns
    -------
    At most :data:`MAX_BYTES` bytes; ``b""`` if there are more.
    """
    parts = {tag: _element(dataset, tag, _MAX_ELEMENT_BYTES) for tag in _PLAIN}
    tables = {tag: _element(dataset, tag, MAX_BYTES) for tag in _LARGE}
    size = sum(map(len, parts.values()))
    if size + sum(map(len, tables.values())) <= MAX_BYTES:
        parts |= tables
    return b"".join(parts[tag] for tag in sorted(parts)) if size <= MAX_BYTES else b""


def _element(dataset: Dataset, tag: BaseTag, max_bytes: int) -> bytes:
    """One element, encoded; ``b""`` where it is absent, too long, or cannot be read: pydicom raises any type then."""
    if tag not in dataset:
        return b""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_data_element(stream, _verbatim(dataset, tag), dataset.original_character_set)
        written: bytes = stream.getvalue()
        return written if len(written) <= max_bytes else b""
    return b""


def _verbatim(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement:
    """The element with the bytes of the file where these are text; sequences and numbers are read and written anew."""
    vr = dictionary_VR(tag)
    found = dataset.get_item(tag)
    if isinstance(found, RawDataElement) and vr not in {"SQ", "US", "US or SS", "FD", "FL", "UL", "SL"}:
        value = (found.value or b"") + (b" " if len(found.value or b"") % 2 else b"")
        return RawDataElement(tag, vr, len(value), value, 0, False, True)
    element = dataset[tag]
    if vr != "SQ":
        if element.VR == "SQ":
            raise ValueError("a sequence where none belongs")
        return element
    holder = Dataset()
    holder.add(element)
    holder.PixelRepresentation = int(dataset.get("PixelRepresentation") or 0)
    return correct_ambiguous_vr(holder, True)[tag]
