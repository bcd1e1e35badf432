"""When two files name the same patient or exposure: formatting alone never tells two apart, a real difference does."""

from __future__ import annotations

from typing import Any

import pytest

from fractureai.domain.identity import (
    examination_id,
    is_for_processing,
    patient_differences,
    presented_twins,
    sop_id,
    uid_text,
)
from fractureai.domain.radiograph import Header

ID, ISSUER, NAME, BORN = "patient ID", "issuer of the patient ID", "name", "date of birth"


def header(patient_id: str = "", name: str = "", born: str = "", **more: str) -> Header:
    return Header("application/dicom", patient_id=patient_id, patient_name=name, patient_birth_date=born, **more)


SAME = {
    "case and padding of the ID": (header(" pid-42"), header("PID-42 ")),
    "blanks within the ID": (header("123 456"), header("123456")),
    "full-width digits": (header("１２３"), header("123")),
    "case of the name": (header("1", "Doe, Jane"), header("1", "DOE, JANE")),
    "separators of the name": (header("", "Doe^Jane"), header("", "DOE JANE^^^")),
    "empty components": (header("", "Doe^Jane^^^"), header("", "Doe^Jane")),
    "accents": (header("1", "Müller, Zoë"), header("1", "MULLER, ZOE")),
    "apostrophes and hyphens": (header("", "O'Brien, Mary-Ann"), header("", "OBrien Mary Ann")),
    "a middle name, under one ID": (header("1", "Doe, Jane"), header("1", "Doe, Jane Q")),
    "a title, under one birth date": (
        header("", "Doe, Jane", "19700131"),
        header("", "Doe, Dr. Jane", "1970-01-31"),
    ),
    "one of two scripts": (header("1", "Yamada, Tarou (山田, 太郎)"), header("1", "Yamada, Tarou")),
    "another script": (header("1", "Yamada, Tarou"), header("1", "山田, 太郎")),
    "the form of the date": (header("1", born="1970.01.31"), header("1", born="19700131")),
    "a placeholder date": (header("1", born="00000000"), header("1", born="19700131")),
    "what only one has": (header("1", "Doe", "19700131"), header()),
    "an ID that only one has": (header("1", "Doe, Jane"), header("", "DOE^JANE")),
    "nothing but separators": (header("1", "^^^"), header("1", "Doe")),
}

DIFFERENT = {
    "IDs": ((ID,), header("1", "Doe"), header("2", "Doe")),
    "zeros before an ID": ((ID,), header("0042"), header("42")),
    "issuers of one ID": (
        (ISSUER,),
        header("1", issuer_of_patient_id="NORTH"),
        header("1", issuer_of_patient_id="SOUTH"),
    ),
    "names under one ID": ((NAME,), header("1", "Doe, Jane"), header("1", "Roe, Richard")),
    "names without an ID": ((NAME,), header("", "Doe, Jane"), header("", "Roe, Richard")),
    "a given name without an ID": ((NAME,), header("", "Doe, Jane"), header("", "Doe, John")),
    "a part of a name without an ID": ((NAME,), header("", "Doe"), header("", "Doe, John")),
    "the order of a name": ((NAME,), header("", "Henry, James"), header("", "James, Henry")),
    "an ID that one lacks, another name": ((NAME,), header("1", "Doe, Jane"), header("", "Roe, Richard")),
    "names in one script": ((NAME,), header("1", "山田, 太郎"), header("1", "鈴木, 花子")),
    "pseudonyms": ((NAME,), header("P1", "P1, N1 B1"), header("P1", "P1, N2 B1")),
    "birth dates": ((BORN,), header("1", "Doe", "19700131"), header("1", "Doe", "19710131")),
    "everything": ((ID, NAME, BORN), header("1", "Doe", "19700131"), header("2", "Roe", "19710131")),
}


@pytest.mark.parametrize("what", SAME)
def test_formatting_does_not_make_two_patients(what: str) -> None:
    one, other = SAME[what]
    assert patient_differences([one, other]) == patient_differences([other, one]) == ()


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_real_difference_makes_two_patients(what: str) -> None:
    differences, one, other = DIFFERENT[what]
    assert patient_differences([one, other, one]) == patient_differences([other, one]) == differences


def test_a_silent_file_between_two_patients_does_not_join_them() -> None:
    assert patient_differences([header("1"), header(), header("2")]) == (ID,)


def test_of_many_files_each_pair_counts() -> None:
    assert patient_differences([header("1", "Doe", "1970") for _ in range(1000)] + [header("1", "Doe", "1971")])


@pytest.mark.parametrize(("raw", "uid"), [("1.2.3\0", "1.2.3"), (" 1.2.3 \0\0 ", "1.2.3"), ("1.2.03", "1.2.03")])
def test_only_padding_is_taken_off_a_uid(raw: str, uid: str) -> None:
    assert uid_text(raw) == uid


def test_ids_of_uids_are_a_sites_own() -> None:
    assert sop_id("north", "1.2") != sop_id("south", "1.2")
    assert sop_id("north", "1.2") != examination_id("north", "1.2")


# Raw data beside what was made of it.


def shot(number: int, intent: str = "FOR PRESENTATION", **more: str) -> Header:
    given: dict[str, Any] = {
        "patient_id": "1",
        "study_instance_uid": "1.2",
        "sop_instance_uid": f"1.2.{number}",
        "presentation_intent_type": intent,
        "acquisition_date": "20260105",
        "acquisition_time": "093000",
        "laterality": "L",
        "view_position": "AP",
    }
    return Header("application/dicom", **{**given, **more})


RAW = "FOR PROCESSING"
FIRST, SECOND = "093000", "093112.5"


@pytest.mark.parametrize(
    ("headers", "twins"),
    [
        ({1: shot(1, RAW), 2: shot(2)}, {1: 2}),
        ({1: shot(1), 2: shot(2, RAW)}, {2: 1}),
        ({1: shot(1, RAW, acquisition_time="093000.000"), 2: shot(2)}, {1: 2}),
        ({1: shot(1, RAW)}, {}),
        ({1: shot(1, RAW), 2: shot(2, RAW)}, {}),
        # Two exposures, each with its own.
        (
            {1: shot(1, RAW, acquisition_time=FIRST), 2: shot(2, RAW, acquisition_time=SECOND),
             3: shot(3, acquisition_time=SECOND), 4: shot(4, acquisition_time=FIRST)},
            {1: 4, 2: 3},
        ),
        # Another view, side, number or moment is another exposure.
        ({1: shot(1, RAW), 2: shot(2, view_position="LL")}, {}),
        ({1: shot(1, RAW), 2: shot(2, laterality="R")}, {}),
        ({1: shot(1, RAW), 2: shot(2, acquisition_number="2")}, {}),
        ({1: shot(1, RAW), 2: shot(2, acquisition_time=SECOND)}, {}),
        # One time in all images: which of two raw ones the presented one is made of cannot be told.
        ({1: shot(1, RAW, view_position=""), 2: shot(2, RAW, view_position=""), 3: shot(3, view_position="")}, {}),
        # Without a time nothing is concluded from the rest.
        ({1: shot(1, RAW, acquisition_time=""), 2: shot(2, acquisition_time="")}, {}),
        ({1: shot(1, RAW, acquisition_time="000000.00"), 2: shot(2, acquisition_time="000000.00")}, {}),
        # What the presented image was made of, and the event of irradiation, say it whatever the time.
        ({1: shot(1, RAW), 2: shot(2, source_image_uid="1.2.1", acquisition_time=SECOND)}, {1: 2}),
        (
            {1: shot(1, RAW, irradiation_event_uid="1.9"),
             2: shot(2, irradiation_event_uid="1.9", acquisition_time=SECOND)},
            {1: 2},
        ),
        ({1: shot(1, RAW, irradiation_event_uid="1.8"), 2: shot(2, irradiation_event_uid="1.9")}, {}),
        # Never one of another patient or study.
        ({1: shot(1, RAW), 2: shot(2, patient_id="2", source_image_uid="1.2.1")}, {}),
        ({1: shot(1, RAW), 2: shot(2, study_instance_uid="1.3")}, {}),
    ],
)  # fmt: skip
def test_a_raw_image_is_known_by_the_image_made_of_its_exposure(
    headers: dict[int, Header], twins: dict[int, int]
) -> None:
    assert presented_twins(headers) == twins


@pytest.mark.parametrize(
    ("intent", "sop_class", "raw"),
    [
        ("FOR PROCESSING", "", True),
        ("for processing ", "1.2.840.10008.5.1.4.1.1.1", True),
        ("", "1.2.840.10008.5.1.4.1.1.1.1.1", True),
        ("FOR PRESENTATION", "1.2.840.10008.5.1.4.1.1.1.1.1", False),
        ("", "1.2.840.10008.5.1.4.1.1.1.1", False),
        ("", "", False),
    ],
)
def test_raw_is_what_says_so(intent: str, sop_class: str, raw: bool) -> None:
    assert (
        is_for_processing(Header("application/dicom", presentation_intent_type=intent, sop_class_uid=sop_class)) is raw
    )
