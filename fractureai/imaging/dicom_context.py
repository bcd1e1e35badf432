"""What results in the same study need of a source's header, taken over as it is.

Text keeps its bytes, so that a name is the same in the source and in the result. Only where the header does not name
the character set that its text is in, all of it is written as UTF-8, which is then right in every archive.
The outcome is a small data set in Explicit VR Little Endian without file meta information; pixels, private elements and
whatever is not listed stay behind.
"""

from __future__ import annotations

import contextlib
import warnings

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_data_element
from pydicom.tag import BaseTag, Tag

from fractureai.domain.dicom_attributes import IMAGE, PATIENT_AND_STUDY, TABLES
from fractureai.imaging.character_sets import UTF_8, Trust
from fractureai.imaging.dicom_text import TEXT_VRS, HeaderText, raw_value

MAX_BYTES = 192 * 1024
_MAX_ELEMENT_BYTES = 16 * 1024
_CHARACTER_SET = Tag(0x00080005)


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
    text = HeaderText(dataset)
    for tag in _PLAIN:
        if dictionary_VR(tag) in TEXT_VRS and (raw := raw_value(dataset, tag)) is not None:
            text.decode(raw, dictionary_VR(tag))
    # A guess is shown as one; into the study it does not go.
    in_utf_8 = text.trust is Trust.REPAIRED or (text.is_misdeclared and text.trust is Trust.DECLARED)
    parts = {tag: _element(dataset, tag, _MAX_ELEMENT_BYTES, text if in_utf_8 else None) for tag in _PLAIN}
    tables = {tag: _element(dataset, tag, MAX_BYTES, None) for tag in _LARGE}
    size = sum(map(len, parts.values()))
    if size + sum(map(len, tables.values())) <= MAX_BYTES:
        parts |= tables
    return b"".join(parts[tag] for tag in sorted(parts)) if size <= MAX_BYTES else b""


def _element(dataset: Dataset, tag: BaseTag, max_bytes: int, text: HeaderText | None) -> bytes:
    """One element, encoded; ``b""`` where it is absent, too long, or cannot be read: pydicom raises any type then.

    ``text``: what decodes it, where text is to be written as UTF-8.
    """
    if tag not in dataset and not (text and tag == _CHARACTER_SET):
        return b""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        element = _verbatim(dataset, tag) if text is None else _in_utf_8(dataset, tag, text)
        write_data_element(stream, element, ["utf8"] if text else dataset.original_character_set)
        written: bytes = stream.getvalue()
        return written if len(written) <= max_bytes else b""
    return b""


def _verbatim(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement:
    """The element with the bytes of the file where these are text; sequences and numbers are read and written anew."""
    vr = dictionary_VR(tag)
    found = dataset.get_item(tag)
    if isinstance(found, RawDataElement) and vr not in {"SQ", "US", "US or SS", "FD", "FL", "UL", "SL"}:
        return _raw(tag, vr, found.value or b"")
    element = dataset[tag]
    if vr != "SQ":
        if element.VR == "SQ":
            raise ValueError("a sequence where none belongs")
        return element
    holder = Dataset()
    holder.add(element)
    holder.PixelRepresentation = int(dataset.get("PixelRepresentation") or 0)
    return correct_ambiguous_vr(holder, True)[tag]


def _in_utf_8(dataset: Dataset, tag: BaseTag, text: HeaderText) -> DataElement | RawDataElement:
    vr = dictionary_VR(tag)
    if tag == _CHARACTER_SET:
        return DataElement(tag, vr, UTF_8)
    if vr == "SQ":
        return DataElement(tag, vr, [_item_in_utf_8(item, text) for item in dataset[tag].value])
    raw = raw_value(dataset, tag) if vr in TEXT_VRS else None
    return _verbatim(dataset, tag) if raw is None else DataElement(tag, vr, text.decode(raw, vr).text)


def _item_in_utf_8(item: Dataset, text: HeaderText) -> Dataset:
    """An item of a sequence; its text is in the character set of the whole."""
    made = Dataset()
    for tag in sorted(item.keys()):
        if tag != _CHARACTER_SET and dictionary_has_tag(tag):
            made[tag] = _in_utf_8(item, tag, text)
    return made


def _raw(tag: BaseTag, vr: str, value: bytes) -> RawDataElement:
    value += b" " * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)
