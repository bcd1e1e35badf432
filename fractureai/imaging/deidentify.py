"""Files without what says whose they are: DICOM by the Basic Profile (PS3.15 annex E), pictures without metadata.

What is to be done with each attribute stands in the table of dicom-anonymizer (edition 2024b of PS3.15 table E.1-1).
The table is its, the walk is ours: the package looks at the outermost level only.
Runs in the decoding child. Pixels are not changed: text that is burned into them stays.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions_2024b
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.deidentify_pictures import stripped_picture
from fractureai.imaging.dicom import parse as parse_dicom
from fractureai.imaging.dicom_header import read_header
from fractureai.imaging.limits import DecodeLimits

METHOD = "FractureAI; PS3.15 2024b Basic Application Level Confidentiality Profile"
MOST_UIDS = 1000
# Each item costs a walk through the whole table; radiographs have some dozens, three or four deep.
_MOST_ITEMS = 2000
_MOST_DEPTH = 32
_STANDARD = "1.2.840.10008."
_OVERLAYS_AND_CURVES = (range(0x5000, 0x5100), range(0x6000, 0x6100))
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)(.*)", re.DOTALL)

Tag = tuple[int, ...]
Action = Callable[[Dataset, Tag], None]


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What a file says whose it is, and every UID of its own."""

    patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replacements:
    """What stands in their place. ``days``: how far dates move; ``None``: they go."""

    patient: str
    name: str
    accession: str
    uids: dict[str, str]
    days: int | None


def identifiers(data: bytes, limits: DecodeLimits) -> Identifiers:
    """Read them; empty for a picture. Raises ``RejectedInput`` for what is neither."""
    kind = media.sniff(data[: media.HEAD_BYTES])
    if kind.media_type is None:
        raise RejectedInput("unknown_type", kind.instead)
    if kind.media_type != media.DICOM:
        return Identifiers()
    dataset, _ = parse_dicom(data, limits)
    try:
        _check_items(dataset)
        uids = tuple(dict.fromkeys(_uids(dataset)))
    except (RejectedInput, MemoryError):
        raise
    except Exception as error:  # pydicom reads values late, and raises any built-in type on hostile ones
        raise RejectedInput("damaged", "its UIDs cannot be read") from error
    if len(uids) > MOST_UIDS:
        raise RejectedInput("damaged", f"more than {MOST_UIDS} UIDs")
    found = read_header(dataset, "")
    return Identifiers(
        found.patient_id,
        found.patient_name,
        found.patient_birth_date,
        found.accession_number,
        found.study_instance_uid,
        uids,
    )


def deidentified(data: bytes, replacements: Replacements, limits: DecodeLimits) -> bytes:
    """The file without them. Raises ``RejectedInput`` where that cannot be done."""
    kind = media.sniff(data[: media.HEAD_BYTES]).media_type
    if kind == media.DICOM:
        return _dicom(data, replacements, limits)
    if kind is None:
        raise RejectedInput("unknown_type")
    return stripped_picture(data, kind, limits)


# DICOM


def _dicom(data: bytes, replacements: Replacements, limits: DecodeLimits) -> bytes:
    dataset, _ = parse_dicom(data, limits)
    try:
        _check_items(dataset)
        _apply(dataset, _rules(replacements))
        dataset.remove_private_tags()
        _say_what_was_done(dataset, replacements)
        meta = dataset.file_meta
        for keyword in [one.keyword for one in meta]:
            if keyword not in {"TransferSyntaxUID", "MediaStorageSOPClassUID"}:
                del meta[keyword]
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.preamble = b"\0" * 128
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()
    except (RejectedInput, MemoryError):
        raise
    except Exception as error:  # pydicom raises any built-in type; what is not rid of its names is not kept
        raise RejectedInput("damaged", "it could not be de-identified") from error


def _check_items(dataset: Dataset) -> None:
    """Refuse sequences that would take for ever to go through."""
    level, items = [dataset], 0
    for _ in range(_MOST_DEPTH):
        level = [item for each in level for one in each if one.VR == "SQ" for item in one.value or ()]
        items += len(level)
        if not level:
            return
        if items > _MOST_ITEMS:
            break
    raise RejectedInput("damaged", f"more than {_MOST_ITEMS} items, or {_MOST_DEPTH} deep")


def _apply(dataset: Dataset, rules: dict[Tag, Action]) -> None:
    for tag in [one.tag for one in dataset]:
        if any(tag.group in span for span in _OVERLAYS_AND_CURVES):
            del dataset[tag]
    anonymize_dataset(dataset, None, delete_private_tags=False, base_rules_gen=lambda: dict(rules))
    for one in list(dataset):
        if one.VR == "SQ" and isinstance(one.value, Sequence):
            for item in one.value:
                _apply(item, rules)


_BASE: dict[Tag, Action] = initialize_actions_2024b()


def _rules(replacements: Replacements) -> dict[Tag, Action]:
    """The table, with our own way to do what it asks for UIDs, dates, and the two names that must stay the same."""
    rules: dict[Tag, Action] = {}
    for tag, action in _BASE.items():
        vr = dictionary_VR(tag) if len(tag) == 2 and dictionary_has_tag(tag) else ""  # type: ignore[arg-type]
        if vr == "UI":
            rules[tag] = _replaced_uid(replacements.uids)
        elif vr in {"DA", "DT"}:
            rules[tag] = _moved_date(replacements.days)
        else:
            rules[tag] = _sure(action)
    rules[0x0008, 0x0050] = _set(replacements.accession)
    rules[0x0010, 0x0010] = _set(replacements.name)
    rules[0x0010, 0x0020] = _set(replacements.patient)
    rules[0x0010, 0x0030] = _set("")  # a birth date that was moved is still nearly one
    return rules


def _sure(action: Action) -> Action:
    """The package's action; what it does not know how to replace is left out."""

    def act(dataset: Dataset, tag: Tag) -> None:
        try:
            action(dataset, tag)
        except NotImplementedError:
            del dataset[tag]

    return act


def _set(value: str) -> Action:
    def act(dataset: Dataset, tag: Tag) -> None:
        if tag in dataset:
            dataset[tag].value = value

    return act


def _replaced_uid(uids: dict[str, str]) -> Action:
    def act(dataset: Dataset, tag: Tag) -> None:
        if tag not in dataset:
            return
        found = dataset[tag]
        if isinstance(found.value, MultiValue):
            found.value = [uids.get(str(value), str(value)) for value in found.value]
        elif found.value:
            found.value = uids.get(str(found.value), str(found.value))

    return act


def _moved_date(days: int | None) -> Action:
    def act(dataset: Dataset, tag: Tag) -> None:
        if tag not in dataset:
            return
        found = dataset[tag]
        values = list(found.value) if isinstance(found.value, MultiValue) else [found.value]
        found.value = (
            [_moved(str(value or ""), days) for value in values]
            if len(values) > 1
            else _moved(str(values[0] or ""), days)
        )

    return act


def _moved(text: str, days: int | None) -> str:
    """A DICOM date or the date within a date and time; ``""`` for what is none, or where dates go."""
    found = _DATE.fullmatch(text.strip())
    if days is None or found is None:
        return ""
    try:
        moved = date(*map(int, found.groups()[:3])) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}{found[4]}" if moved.year >= 1000 else ""


def _say_what_was_done(dataset: Dataset, replacements: Replacements) -> None:
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD[:64]
    codes = [("113100", "Basic Application Confidentiality Profile")]
    if replacements.days is not None:
        codes.append(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
    dataset.LongitudinalTemporalInformationModified = "REMOVED" if replacements.days is None else "MODIFIED"
    dataset.DeidentificationMethodCodeSequence = [_code(*code) for code in codes]


def _code(value: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, "DCM", meaning
    return made


def _uids(dataset: Dataset) -> Iterator[str]:
    for one in dataset:
        if one.VR == "SQ":
            for item in one.value or ():
                yield from _uids(item)
        elif one.VR == "UI" and one.value:
            values: Any = one.value if isinstance(one.value, MultiValue) else [one.value]
            yield from (str(value) for value in values if value and not str(value).startswith(_STANDARD))
