"""The Store Instances Response (PS3.18 section I.2), as DICOM JSON (annex F) and as XML (PS3.19 annex A)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from xml.etree import ElementTree as ET

JSON, XML = "application/dicom+json", "application/dicom+xml"
_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

# tag: VR and keyword
_ELEMENTS = {
    "00081150": ("UI", "ReferencedSOPClassUID"),
    "00081155": ("UI", "ReferencedSOPInstanceUID"),
    "00081190": ("UR", "RetrieveURL"),
    "00081197": ("US", "FailureReason"),
    "00081198": ("SQ", "FailedSOPSequence"),
    "00081199": ("SQ", "ReferencedSOPSequence"),
    "0008119A": ("SQ", "OtherFailuresSequence"),
}
_Item = dict[str, Any]


class Failure(IntEnum):
    """Why an instance was not stored (PS3.18 table I.2-2, PS3.4 annex GG)."""

    PROCESSING = 0x0110
    CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    OTHER_STUDY = 0xA900
    NOT_UNDERSTOOD = 0xC000


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance by its class and UID."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(slots=True)
class Stored:
    """What became of the parts of a request."""

    referenced: list[Instance] = field(default_factory=list)
    failed: list[tuple[Instance, Failure]] = field(default_factory=list)
    others: list[Failure] = field(default_factory=list)
    """Parts that did not even say which instance they are."""

    @property
    def status(self) -> int:
        """200: all were stored, 202: some, 409: none (PS3.18 section 10.5.3)."""
        if not self.failed and not self.others:
            return 200
        return 202 if self.referenced else 409

    def body(self, media_type: str) -> bytes | dict[str, Any]:
        """The response in :data:`XML`, or as a value for a JSON encoder."""
        dataset = _json(self._items())
        return _xml(self._items()) if media_type == XML else dataset

    def _items(self) -> _Item:
        # Nothing can be retrieved from here, so the URLs, of type 2, are there and empty.
        found: _Item = {"00081190": []}
        if self.failed:
            found["00081198"] = [{**_reference(one), "00081197": [int(why)]} for one, why in self.failed]
        if self.referenced:
            found["00081199"] = [{**_reference(one), "00081190": []} for one in self.referenced]
        if self.others:
            found["0008119A"] = [{"00081197": [int(why)]} for why in self.others]
        return found


def _reference(instance: Instance) -> _Item:
    return {"00081150": [instance.sop_class_uid], "00081155": [instance.sop_instance_uid]}


def _json(items: _Item) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, values in sorted(items.items()):
        vr, _ = _ELEMENTS[tag]
        given = [_json(value) for value in values] if vr == "SQ" else values
        found[tag] = {"vr": vr} | ({"Value": given} if given else {})
    return found


def _xml(items: _Item) -> bytes:
    ET.register_namespace("", _NAMESPACE)
    root = ET.Element(f"{{{_NAMESPACE}}}NativeDicomModel", {"xml:space": "preserve"})
    _fill(root, items)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _fill(parent: ET.Element, items: _Item) -> None:
    for tag, values in sorted(items.items()):
        vr, keyword = _ELEMENTS[tag]
        attribute = ET.SubElement(parent, f"{{{_NAMESPACE}}}DicomAttribute", {"tag": tag, "vr": vr, "keyword": keyword})
        for number, value in enumerate(values, start=1):
            if vr == "SQ":
                _fill(ET.SubElement(attribute, f"{{{_NAMESPACE}}}Item", {"number": str(number)}), value)
            else:
                element = ET.SubElement(attribute, f"{{{_NAMESPACE}}}Value", {"number": str(number)})
                element.text = str(value)
