"""Files without what says whose they are: DICOM by the Basic Profile (PS3.15 annex E), pictures without metadata.

What is to be done with each attribute stands in the table of dicom-anonymizer (edition 2024b of PS3.15 table E.1-1).
The table is its, the walk is ours: the package looks at the outermost level only.
Runs in the decoding child. Pixels are not changed: text that is burned into them stays.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions_2024b
from PIL import Image
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.dicom import parse as parse_dicom
from fractureai.imaging.dicom_header import element
from fractureai.imaging.dicom_text import HeaderText
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.raster import refuse_animation
from fractureai.imaging.text import clean

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
    accession_number: str = ""
    study_instance_uid: str = ""
    uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replacements:
    """What stands in their place. ``days``: how far dates move; ``None``: they go."""

    patient: str
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
    text = HeaderText(dataset)
    patient, accession = (clean(text.value(keyword)) for keyword in ("PatientID", "AccessionNumber"))
    return Identifiers(patient, accession, clean(element(dataset, "StudyInstanceUID") or ""), uids)


def deidentified(data: bytes, replacements: Replacements, limits: DecodeLimits) -> bytes:
    """The file without them. Raises ``RejectedInput`` where that cannot be done."""
    kind = media.sniff(data[: media.HEAD_BYTES]).media_type
    if kind == media.DICOM:
        return _dicom(data, replacements, limits)
    if kind in _STRIPPERS:
        try:
            return _STRIPPERS[kind](data)
        except (RejectedInput, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise RejectedInput("too_many_pixels") from error
        except Exception as error:  # Pillow's plug-ins raise any built-in type on hostile bytes
            raise RejectedInput("damaged", "its parts cannot be told apart") from error
    raise RejectedInput("unknown_type")


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
    rules[0x0010, 0x0010] = rules[0x0010, 0x0020] = _set(replacements.patient)
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


# Pictures: everything that is not needed to see them goes, and what stands behind their end.


def _stripped_jpeg(data: bytes) -> bytes:
    kept, at, orientation = [data[:2]], 2, 1
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker >> 8 != 0xFF:
            raise ValueError("no marker")
        if marker & 0xFF == 0xFF:  # a fill byte
            at += 1
            continue
        segment = data[at : at + 2 + length]
        kind = marker & 0xFF
        if kind == 0xE1 and segment[4:10] == b"Exif\0\0":
            orientation = _exif_orientation(data)
        if not (0xE1 <= kind <= 0xEF and kind != 0xEE) and kind != 0xFE:
            kept.append(segment)
        at += 2 + length
        if kind == 0xDA:
            break
    end = data.rfind(b"\xff\xd9", at)
    kept.append(data[at : end + 2] if end >= 0 else data[at:])
    if orientation != 1:
        kept.insert(1, _orientation_segment(orientation))
    return b"".join(kept)


def _exif_orientation(data: bytes) -> int:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        found = picture.getexif().get(0x0112, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _orientation_segment(orientation: int) -> bytes:
    """EXIF that says how the picture is turned, and nothing else."""
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return struct.pack(">HH", 0xFFE1, 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff


_PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sBIT", b"pHYs", b"sRGB", b"cHRM"}


def _stripped_png(data: bytes) -> bytes:
    kept, at = [data[:8]], 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("cut off")
        if kind in _PNG_KEPT:
            kept.append(data[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end


_WEBP_KEPT = {b"VP8 ", b"VP8L", b"ALPH"}


def _stripped_webp(data: bytes) -> bytes:
    kept, at = [], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in _WEBP_KEPT:
            kept.append(data[at : at + 8 + length + length % 2])
        elif kind == b"VP8X":
            flags = bytes([data[at + 8] & ~0x2C])  # no EXIF, no XMP, no colour profile
            kept.append(data[at : at + 8] + flags + data[at + 9 : at + 8 + length])
        elif kind in {b"ANIM", b"ANMF"}:
            raise RejectedInput("multi_frame")
        at += 8 + length + length % 2
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _png_of_tiff(data: bytes) -> bytes:
    """A TIFF keeps metadata wherever it likes, so only its pixels go on, as PNG."""
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as picture:
        refuse_animation(picture)
        if picture.tag_v2.get(262) == 0:  # type: ignore[attr-defined]
            raise RejectedInput("unsupported_encoding", "a TIFF with white as zero; send PNG or DICOM")
        bare = Image.frombytes(picture.mode, picture.size, picture.tobytes())
    stream = io.BytesIO()
    bare.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


_STRIPPERS: dict[str, Callable[[bytes], bytes]] = {
    media.JPEG: _stripped_jpeg,
    media.PNG: _stripped_png,
    media.WEBP: _stripped_webp,
    media.TIFF: _png_of_tiff,
}
