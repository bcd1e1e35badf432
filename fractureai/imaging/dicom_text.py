"""The one place where text of a DICOM header is decoded, for people and for the results that go into the same study."""

from __future__ import annotations

import contextlib
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from fractureai.imaging.character_sets import (
    PERSON_NAME_DELIMITERS,
    TEXT_DELIMITERS,
    CharacterSet,
    Decoded,
    Trust,
    is_defined_term,
)

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Of which the character set says how values are encoded (PS3.5 section 6.1.2.2)."""


# Far more than a value of these kinds may have; what is shown is a line of it.
_MOST_BYTES = 16 * 1024


class HeaderText:
    """Decodes the text of one data set.

    Attributes
    ----------
    trust:
        The least of all that was decoded so far.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        terms = _terms(dataset)
        self._character_set = CharacterSet(terms)
        self.trust = Trust.DECLARED
        self.is_misdeclared = not all(map(is_defined_term, terms))

    def value(self, keyword: str) -> str:
        """The decoded value with its delimiters; ``""`` where it is absent or is none of text."""
        tag = Tag(tag_for_keyword(keyword) or 0)
        raw = raw_value(self._dataset, tag)
        if raw is None:
            return ""
        return self.decode(raw[:_MOST_BYTES], dictionary_VR(tag)).text

    def decode(self, raw: bytes, vr: str) -> Decoded:
        """Decode a value of a VR of :data:`TEXT_VRS`."""
        decoded = self._character_set.decode(raw, PERSON_NAME_DELIMITERS if vr == "PN" else TEXT_DELIMITERS)
        self.trust = max(self.trust, decoded.trust)
        return decoded


def raw_value(dataset: Dataset, tag: BaseTag) -> bytes | None:
    """The bytes of a text value as they are in the file; ``None`` where it is absent or a sequence."""
    with contextlib.suppress(Exception):  # pydicom reads late, and raises any built-in type on hostile bytes
        if tag not in dataset:
            return None
        found = dataset.get_item(tag)
        if isinstance(found, RawDataElement):
            return None if found.VR == "SQ" else found.value or b""
        return _encoded(found.value) if found is not None and found.VR in TEXT_VRS else None
    return None


def _encoded(value: Any) -> bytes:
    """Of an element that pydicom has decoded already, as near as can be."""
    if isinstance(value, PersonName):
        return value.original_string
    if isinstance(value, MultiValue):
        return b"\\".join(map(_encoded, value))
    return str(value or "").encode("utf-8", "replace")


def _terms(dataset: Dataset) -> list[str]:
    with contextlib.suppress(Exception):
        value = dataset.get("SpecificCharacterSet")
        if isinstance(value, MultiValue):
            return [str(term).strip() for term in value]
        return [term.strip() for term in str(value or "").split("\\")]
    return [""]
