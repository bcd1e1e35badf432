"""Studies whose files name two patients, one instance twice, or one exposure twice: what comes out at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fractureai.domain import keys
from fractureai.domain.study import Study
from fractureai.reports.dicom.writer import StudyDicomWriter
from fractureai.stages import classify, detect, explain, fhir, inline, intake, report
from fractureai.web import words
from tests.unit.stages.conftest import House
from tests.unit.stages.named import OTHER_STUDY, STUDY, radiograph

NORMAL, FRACTURED = 0.05, 0.9
SECOND = f"{STUDY}.1.2"
ANOTHER = {"PatientID": "PID-99", "PatientName": "Roe^Richard"}
RAW = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1",
    "SOPInstanceUID": SECOND,
    "PresentationIntentType": "FOR PROCESSING",
}


def run(house: House, study: Study) -> dict[str, Any]:
    for stage in (classify, detect, explain, report):
        assert stage.run(study.study_id, house) == "done"
    return dict(json.loads(house.store.get(keys.result_json("local", study.study_id))))


def result_of(house: House, *files: bytes, probability: float = NORMAL, dicom: bool = False) -> dict[str, Any]:
    house.models.by_region["hand"].probability = probability
    house.dicom_writer = StudyDicomWriter() if dicom else None
    return run(house, house.accepted(*files))


def codes(document: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in document["reasons"]]


def conflicts(house: House) -> list[str]:
    """What the audit has of conflicts."""
    records = [json.loads(record.text) for record in house.ledger.audit_records("local")]
    kind = ["110107", "Import"]
    return [record["detail"] for record in records if record["event"] == kind and record["what"]["kind"] == "study"]


# Two patients.


def test_two_patients_are_never_normal(house: House) -> None:
    result = result_of(house, radiograph(1), radiograph(2, SOPInstanceUID=SECOND, **ANOTHER))
    assert result["assessment"] == "inconclusive"
    assert result["reasons"][0]["code"] == "patient_conflict"
    assert result["reasons"][0]["detail"] == "patient ID, name"
    assert [image["assessment"] for image in result["images"]] == ["inconclusive"] * 2
    assert all("patient_conflict" in codes(image) for image in result["images"])
    assert conflicts(house) == ["patient_conflict: patient ID, name"]


def test_a_fracture_of_one_of_two_patients_is_still_looked_at_first(house: House) -> None:
    files = radiograph(1), radiograph(2, SOPInstanceUID=SECOND, **ANOTHER)
    result = result_of(house, *files, probability=FRACTURED)
    assert result["assessment"] == "fracture"
    assert result["reasons"][0]["code"] == "patient_conflict"


def test_every_output_tells_of_two_patients(house: House) -> None:
    study = house.accepted(radiograph(1), radiograph(2, SOPInstanceUID=SECOND, **ANOTHER))
    result = run(house, study)
    sentence = result["reasons"][0]["sentence"]
    assert [entry["name"] for entry in result["dicom_objects"]] == ["summary"]
    row = house.ledger.study(study.study_id, site="local")
    assert row is not None
    assert [reason.sentence for reason in words.warnings(row)] == [sentence]
    assert words.why(row) == []
    document = fhir.document(row, house.store, house.fhir, fhir.Attach.NONE, "")
    assert document is not None
    assert document["conclusion"].startswith(sentence)
    assert "subject" not in document
    assert "Jane" not in json.dumps(document)
    assert "A-1" not in json.dumps(document)


@pytest.mark.parametrize(
    "formatting",
    [
        {"PatientID": " pid-42 ", "PatientName": "DOE^JANE^^^"},
        {"PatientName": "Doe^Jane^Q"},
        {"PatientID": ""},
        {"PatientBirthDate": "", "PatientName": ""},
    ],
)
def test_formatting_and_silence_are_no_conflict(house: House, formatting: dict[str, str]) -> None:
    result = result_of(house, radiograph(1), radiograph(2, SOPInstanceUID=SECOND, **formatting), dicom=True)
    assert (result["assessment"], result["reasons"]) == ("no_fracture", [])
    assert "sr" in [entry["name"] for entry in result["dicom_objects"]]
    assert conflicts(house) == []


def test_different_names_without_an_id_are_two_patients(house: House) -> None:
    files = radiograph(1, PatientID=""), radiograph(2, SOPInstanceUID=SECOND, PatientID="", PatientName="Roe^Richard")
    assert codes(result_of(house, *files))[0] == "patient_conflict"


def test_two_patients_in_one_dicom_study_are_told_of_however_they_came(house: House) -> None:
    first = result_of(house, radiograph(1), dicom=True)
    second = result_of(house, radiograph(2, SOPInstanceUID=SECOND, **ANOTHER), dicom=True)
    assert (first["assessment"], second["assessment"]) == ("no_fracture", "inconclusive")
    (reason,) = second["reasons"]
    assert (reason["code"], reason["detail"]) == (
        "patient_conflict",
        f"patient ID, name; with study {first['study_id'][:8]}",
    )
    assert [entry["name"] for entry in second["dicom_objects"]] == ["summary"]
    assert result_of(house, radiograph(3, SOPInstanceUID=f"{STUDY}.1.3"))["reasons"] != []


def test_two_orders_of_one_study_are_told_and_read(house: House) -> None:
    result = result_of(house, radiograph(1), radiograph(2, SOPInstanceUID=SECOND, AccessionNumber="A-2"))
    assert result["assessment"] == "no_fracture"
    assert codes(result) == ["accession_conflict"]
    assert conflicts(house) == ["accession_conflict"]


# One SOP Instance UID.


def test_other_pictures_under_one_uid_are_all_read(house: House) -> None:
    result = result_of(house, radiograph(1), radiograph(2), radiograph(3), dicom=True)
    assert result["assessment"] == "no_fracture"
    assert codes(result) == ["sop_instance_uid_shared"]
    assert result["reasons"][0]["detail"] == "views 1, 2 and 3"
    assert [image["fracture_probability"] for image in result["images"]] == [NORMAL] * 3
    assert not any(entry["name"].startswith("gsps") for entry in result["dicom_objects"])
    assert conflicts(house) == ["sop_instance_uid_shared: views 1, 2 and 3"]


def test_the_same_picture_with_another_header_takes_the_place_of_the_older(house: House) -> None:
    result = result_of(house, radiograph(1), radiograph(1, ImageLaterality="L"), radiograph(2, SOPInstanceUID=SECOND))
    assert [image["set_aside"] for image in result["images"]] == [True, False, False]
    assert result["images"][1]["view"]["laterality"] == "L"
    assert result["assessment"] == "no_fracture"
    assert [(reason["code"], reason["detail"]) for reason in result["reasons"]] == [("image_superseded", "view 2")]


def test_a_file_that_was_sent_again_whole_takes_the_place_of_the_damaged_one(house: House) -> None:
    result = result_of(house, radiograph(1)[:-9000], radiograph(1))
    assert [image["set_aside"] for image in result["images"]] == [True, False]
    assert (result["assessment"], codes(result)) == ("no_fracture", ["image_superseded"])


def test_a_damaged_file_under_a_uid_of_several_pictures_is_a_view_that_is_missing(house: House) -> None:
    result = result_of(house, radiograph(1)[:-9000], radiograph(2), radiograph(3))
    assert [image["set_aside"] for image in result["images"]] == [False] * 3
    assert result["assessment"] == "inconclusive"


def test_a_damaged_file_that_came_later_is_a_view_that_is_missing(house: House) -> None:
    result = result_of(house, radiograph(1), radiograph(2)[:-9000])
    assert [image["set_aside"] for image in result["images"]] == [False, False]
    assert (result["assessment"], codes(result)) == ("inconclusive", ["damaged", "views_not_assessed"])


def test_files_without_an_instance_uid_are_read(house: House) -> None:
    result = result_of(house, radiograph(1, SOPInstanceUID=None), radiograph(2, SOPInstanceUID=None), dicom=True)
    assert (result["assessment"], result["reasons"]) == ("no_fracture", [])
    assert result["no_dicom"]["code"] == "no_dicom_source"


def test_padding_makes_no_other_instance_and_a_zero_does(house: House) -> None:
    uid = f"{STUDY}.1.10"
    one, two = (radiograph(picture, SOPInstanceUID=uid) for picture in (1, 2))
    padded, zero = (
        two.replace(f"{uid}\0".encode(), other) for other in (f"{uid} ".encode(), f"{STUDY}.1.010".encode())
    )
    assert two not in {padded, zero}
    assert codes(result_of(house, one, padded)) == ["sop_instance_uid_shared"]
    assert codes(result_of(house, radiograph(3, SOPInstanceUID=SECOND), zero)) == []


# Another study under the same UID.


def test_one_uid_in_two_studies_is_told_of_in_the_later_and_both_are_read(house: House) -> None:
    first = result_of(house, radiograph(1), dicom=True)
    second = result_of(house, radiograph(2, StudyInstanceUID=OTHER_STUDY, **ANOTHER), probability=FRACTURED, dicom=True)
    assert (first["assessment"], first["reasons"]) == ("no_fracture", [])
    assert second["assessment"] == "fracture"
    (reason,) = second["reasons"]
    assert (reason["code"], reason["detail"]) == ("sop_instance_uid_elsewhere", f"study {first['study_id'][:8]}")
    assert conflicts(house) == [f"sop_instance_uid_elsewhere: study {first['study_id'][:8]}"]
    assert {entry["name"] for entry in second["dicom_objects"]} == {"sr", "summary", "overlay-1", "pdf"}


def test_the_same_picture_in_two_studies_is_told_of_too(house: House) -> None:
    result_of(house, radiograph(1))
    moved = result_of(house, radiograph(1, StudyInstanceUID=OTHER_STUDY))
    assert codes(moved) == ["sop_instance_uid_elsewhere"]


def test_a_corrected_picture_that_comes_on_its_own_is_told_of(house: House) -> None:
    first = result_of(house, radiograph(1))
    second = result_of(house, radiograph(2))
    assert [(reason["code"], reason["detail"]) for reason in second["reasons"]] == [
        ("image_revised", f"study {first['study_id'][:8]}")
    ]


@pytest.mark.parametrize("change", [{}, {"PatientComments": "sent by another way"}])
def test_the_same_picture_that_comes_again_needs_no_word(house: House, change: dict[str, str]) -> None:
    for again in (radiograph(1), radiograph(1, **change)):
        result = result_of(house, again)
        assert result["reasons"] == []
    assert conflicts(house) == []


def test_without_a_ledger_the_studies_of_one_call_know_each_other(house: House) -> None:
    batch = house.batch(("a.dcm", radiograph(1)), ("b.dcm", radiograph(2, StudyInstanceUID=OTHER_STUDY)))
    studies, _ = intake.unpack(batch, house)
    house.ledger = None  # type: ignore[assignment]
    results = [inline.analyze(study, house, among=studies) for study in studies]
    assert [
        [reason.code for reason in result.finding.reasons if reason.code != "near_threshold"] for result in results
    ] == [["sop_instance_uid_elsewhere"]] * 2


# Raw data.


def test_raw_data_beside_its_processed_image_is_set_aside(house: House) -> None:
    result = result_of(house, radiograph(1), radiograph(2, **RAW))
    assert [image["set_aside"] for image in result["images"]] == [False, True]
    assert (result["assessment"], codes(result)) == ("no_fracture", ["raw_image"])
    assert result["reasons"][0]["detail"] == "view 1"


def test_raw_data_alone_is_read(house: House) -> None:
    result = result_of(house, radiograph(2, **RAW))
    assert (result["assessment"], result["images"][0]["set_aside"]) == ("no_fracture", False)


def test_raw_data_stays_where_the_processed_image_cannot_be_read(house: House) -> None:
    result = result_of(house, radiograph(1, PixelData=b"\0\0" * 160 * 128), radiograph(2, **RAW))
    assert [image["set_aside"] for image in result["images"]] == [False, False]
    assert result["images"][1]["fracture_probability"] == NORMAL
    assert result["assessment"] == "inconclusive"


def test_no_two_images_stand_for_each_other(house: House) -> None:
    """The processed image was sent again, marked as raw: whatever is set aside, one picture is read."""
    result = result_of(house, radiograph(1), radiograph(1, **{**RAW, "SOPInstanceUID": f"{STUDY}.1.1"}))
    assert [image["set_aside"] for image in result["images"]] == [True, False]
