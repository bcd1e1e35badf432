"""Which patient, instance and exposure a file names, and when two files name the same. Pure rules over headers.

The same image means the same bytes. A UID, a name or a number only says what a file claims to be: formatting alone
never tells two apart, and a claim that two files share never makes one of them disappear.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from fractureai.domain.radiograph import Header
from fractureai.domain.study import Study, check_site

_NAMESPACE = uuid.UUID("b1f6a7f2-1a53-4d7e-8d35-5c0a4f0f7e55")
_PADDING = " \t\r\n\0"
_ANOTHER_SCRIPT = re.compile(r"(.*?)\((.*)\)\s*", re.DOTALL)
_APOSTROPHES = re.compile(r"['’`´]")
_WORDS = re.compile(r"[^\W_]+")
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC")
_FOR_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"


def uid_text(value: object) -> str:
    """A UID without the padding of its value: a NUL by PS3.5 section 9.1, blanks in practice.

    Nothing else is normalised: ``1.2.03`` is no valid UID, but it is not ``1.2.3`` either.
    """
    return str(value).strip(_PADDING)


def examination_id(site: str, study_instance_uid: str) -> str:
    """The id of an examination: the same for the same site and StudyInstanceUID."""
    return uuid.uuid5(_NAMESPACE, f"{check_site(site)} study {study_instance_uid}").hex


def sop_id(site: str, sop_instance_uid: str) -> str:
    """The id of a SOP Instance UID: the same for the same site and UID, whatever the bytes."""
    return uuid.uuid5(_NAMESPACE, f"{check_site(site)} instance {sop_instance_uid}").hex


@dataclass(frozen=True, slots=True)
class InstanceIdentity:
    """Which instance a DICOM file claims to be, of which DICOM study. Without padding; empty where it is silent."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    modality: str = ""


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image of a study, as the ledger remembers it: by ids and hashes, without a UID.

    Attributes
    ----------
    picture_sha256:
        Of what was decoded; ``""`` as long as it is not.
    """

    study_id: str
    sop_id: str
    examination_id: str
    sha256: str
    picture_sha256: str = ""


def known_among(study: Study, others: Iterable[Study]) -> list[KnownImage]:
    """Images of other studies under the SOP Instance UIDs of ``study``: what the ledger knows, where there is none."""
    ids = {image.sop_id for image in study.images} - {""}
    return [
        KnownImage(other.study_id, image.sop_id, image.examination_id, image.sha256)
        for other in others
        if other.study_id != study.study_id
        for image in other.images
        if image.sop_id in ids
    ]


# Patients


def patient_differences(headers: Sequence[Header]) -> tuple[str, ...]:
    """In what the files name different patients; empty where they may all be of one.

    Compared are Patient ID with its issuer, name and birth date, each only where both of two files have it. Case,
    padding, accents, separators and the script of a name are formatting. A name may lack parts that another has
    (a middle name, a title) if ID or birth date say that the patient is the same.
    """
    patients = list(dict.fromkeys(map(_patient, headers)))
    found = [difference for one, other in combinations(patients, 2) for difference in _differences(one, other)]
    return tuple(name for name in ("patient ID", "issuer of the patient ID", "name", "date of birth") if name in found)


def patient_key(patient_id: str) -> str:
    """A Patient ID without what is formatting: case, blanks, full-width letters."""
    return "".join(unicodedata.normalize("NFKC", patient_id).casefold().split())


def name_words(patient_name: str) -> tuple[str, ...]:
    """The words of a name in its first script, in order, without case, accents and separators."""
    return next(iter(_words_by_script(patient_name).values()), ())


def birth_digits(birth_date: str) -> str:
    """A birth date as digits; ``""`` for a placeholder of zeros."""
    digits = "".join(letter for letter in birth_date if letter.isdecimal())
    return digits if digits.strip("0") else ""


@dataclass(frozen=True, slots=True)
class _Patient:
    """What is compared of a patient, without formatting."""

    patient_id: str
    issuer: str
    name: tuple[tuple[str, tuple[str, ...]], ...]
    born: str


def _patient(header: Header) -> _Patient:
    return _Patient(
        patient_key(header.patient_id),
        patient_key(header.issuer_of_patient_id),
        tuple(sorted(_words_by_script(header.patient_name).items())),
        birth_digits(header.patient_birth_date),
    )


def _differences(one: _Patient, other: _Patient) -> list[str]:
    found = []
    if _both_differ(one.patient_id, other.patient_id):
        found.append("patient ID")
    elif one.patient_id and _both_differ(one.issuer, other.issuer):
        found.append("issuer of the patient ID")
    is_one_date = one.born.startswith(other.born) or other.born.startswith(one.born)
    same_id = bool(one.patient_id) and one.patient_id == other.patient_id
    same_date = bool(one.born and other.born) and is_one_date
    if not _same_name(dict(one.name), dict(other.name), may_lack_parts=same_id or same_date):
        found.append("name")
    if not is_one_date:
        found.append("date of birth")
    return found


def _both_differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _same_name(
    one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]], *, may_lack_parts: bool
) -> bool:
    for script in one.keys() & other.keys():
        words, others = one[script], other[script]
        if "".join(words) == "".join(others):
            continue
        if not (may_lack_parts and (set(words) <= set(others) or set(others) <= set(words))):
            return False
    return True


def _words_by_script(name: str) -> dict[str, tuple[str, ...]]:
    """Words by ``east asian`` and ``alphabetic``: a name may be given in either or both (PS3.5 section 6.2.1)."""
    in_brackets = _ANOTHER_SCRIPT.fullmatch(name)
    found: dict[str, tuple[str, ...]] = {}
    for group in in_brackets.groups() if in_brackets else name.split("="):
        words = tuple(_WORDS.findall(_plain(_APOSTROPHES.sub("", group))))
        script = "east asian" if any(_is_east_asian(letter) for letter in group) else "alphabetic"
        if words:
            found.setdefault(script, words)
    return found


def _plain(text: str) -> str:
    """Without case and accents. Composed again, for what remains of Hangul and kana is no accent."""
    parts = unicodedata.normalize("NFKD", text)
    kept = "".join(letter for letter in parts if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFKC", kept).casefold()


def _is_east_asian(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_EAST_ASIAN)


# Exposures


def is_for_processing(header: Header) -> bool:
    """Whether it is raw data of the detector, to be processed before anybody looks at it (PS3.3 section C.8.11.1)."""
    intent = header.presentation_intent_type.strip().upper()
    return intent == "FOR PROCESSING" if intent else header.sop_class_uid == _FOR_PROCESSING_CLASS


def presented_twins(headers: Mapping[int, Header]) -> dict[int, int]:
    """By number, the images for processing whose image for presentation, of the same exposure, is there too; and which.

    The same exposure is one that the presented image names as its source, one of the same Irradiation Event UID, or
    one of the same acquisition: date, time and number, body part, side and view. Of the last kind there must be as many
    presented images as raw ones, for some systems write one time into every image.
    """
    raw = {number: header for number, header in headers.items() if is_for_processing(header)}
    presented = {number: header for number, header in headers.items() if number not in raw}
    twins: dict[int, int] = {}
    for number, header in raw.items():
        for other, shown in presented.items():
            if _are_of_one_study(header, shown) and (_is_source_of(header, shown) or _same_event(header, shown)):
                twins[number] = other
                break
    for key in {_acquisition(header) for header in raw.values()} - {()}:
        raws = [number for number, header in raw.items() if _acquisition(header) == key]
        shown_ones = [number for number, header in presented.items() if _acquisition(header) == key]
        if len(raws) <= len(shown_ones):
            for number, other in zip(raws, shown_ones, strict=False):
                if _are_of_one_study(raw[number], presented[other]) and not _other_event(raw[number], presented[other]):
                    twins.setdefault(number, other)
    return twins


def _is_source_of(raw: Header, presented: Header) -> bool:
    return bool(raw.sop_instance_uid) and raw.sop_instance_uid == presented.source_image_uid


def _same_event(one: Header, other: Header) -> bool:
    return bool(one.irradiation_event_uid) and one.irradiation_event_uid == other.irradiation_event_uid


def _other_event(one: Header, other: Header) -> bool:
    return _both_differ(one.irradiation_event_uid, other.irradiation_event_uid)


def _are_of_one_study(one: Header, other: Header) -> bool:
    return one.study_instance_uid == other.study_instance_uid and not patient_differences([one, other])


def _acquisition(header: Header) -> tuple[str, ...]:
    """What tells an acquisition; nothing where its time is not given, or a placeholder, as of de-identified files."""
    if not header.acquisition_time.strip("0.:"):
        return ()
    seconds, _, fraction = header.acquisition_time.partition(".")
    return (
        header.acquisition_date,
        f"{seconds}.{fraction.rstrip('0')}",
        header.acquisition_number,
        header.body_part_examined.upper(),
        header.laterality.upper(),
        header.view_position.upper(),
    )
