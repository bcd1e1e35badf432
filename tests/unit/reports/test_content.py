import pytest

from fractureai.domain.reasons import Reason
from fractureai.domain.result import DISCLAIMER
from fractureai.domain.study import Assessment, WorkState
from fractureai.reports import wording
from fractureai.reports.content import compose, date, percent, person


def text_of(kit, *images, label="", state=WorkState.DONE):
    headers = [image.header for image in images]
    return compose(kit.study_of(images, label), kit.result_of(images, state), headers)


def fields(pairs):
    return {field.label: field.value for field in pairs}


def test_patient_and_study_come_from_the_header(kit) -> None:
    text = text_of(kit, kit.assessed(), label="Ward 3")
    assert fields(text.patient) == {
        "Name": "Doe, Jane Q",
        "Patient ID": "PID-0042",
        "Date of birth": "1970-01-31",
        "Sex": "female",
    }
    assert fields(text.study) == {
        "Accession number": "ACC-7",
        "Study date": "2026-11-20",
        "Description": "ELBOW 2 VIEWS",
        "Institution": "Klinikum Süd",
        "Referrer": "Smith, Dr Adam",
        "Sender's label": "Ward 3",
        "Images": "1 view",
        "Received": "2026-11-23 14:05 UTC",
    }


def test_what_no_header_tells_is_said_to_be_missing(kit) -> None:
    text = text_of(kit, kit.unread())
    assert set(fields(text.patient).values()) == {wording.NOT_GIVEN}
    assert "Institution" not in fields(text.study)


def test_the_patient_is_named_for_every_page(kit) -> None:
    assert text_of(kit, kit.assessed()).identity == "Doe, Jane Q · PID-0042"
    assert text_of(kit, kit.unread()).identity == ""


def test_files_of_different_patients_raise_a_warning(kit) -> None:
    text = text_of(kit, kit.assessed(1), kit.assessed(2, patient_name="Roe^Richard"))
    assert text.warnings == (Reason("patient_conflict", "name").sentence,)
    assert text.warnings[0] not in text.reasons
    assert fields(text.patient)["Name"] == "Doe, Jane Q / Roe, Richard"


def test_a_file_without_a_name_is_no_conflict(kit) -> None:
    assert text_of(kit, kit.assessed(1), kit.assessed(2, patient_name="")).warnings == ()


@pytest.mark.parametrize(
    ("probability", "assessment"),
    [(0.9, Assessment.FRACTURE), (0.5, Assessment.SUSPECTED), (0.1, Assessment.NO_FRACTURE)],
)
def test_every_assessment_has_its_words(kit, probability, assessment) -> None:
    text = text_of(kit, kit.assessed(probability=probability))
    assert text.assessment is assessment
    assert text.headline == wording.HEADLINES[assessment]
    assert text.recommendation == wording.RECOMMENDATIONS[assessment]
    assert text.disclaimer == DISCLAIMER


def test_the_tables_of_words_are_complete() -> None:
    for table in (wording.HEADLINES, wording.MEANINGS, wording.RECOMMENDATIONS):
        assert set(table) == set(Assessment)


def test_nothing_is_said_that_no_model_measures() -> None:
    advice = " ".join([*wording.MEANINGS.values(), *wording.RECOMMENDATIONS.values()]).lower()
    for word in ("surg", "displac", "sever", "cast", "operat", "diagnos", "healthy"):
        assert word not in advice


def test_the_study_follows_its_most_suspicious_view(kit) -> None:
    text = text_of(kit, kit.assessed(1, 0.1), kit.assessed(2, 0.8), kit.assessed(3, 0.5))
    assert text.scale is not None
    assert text.scale.value == 0.8
    assert fields(text.summary) == {
        "Region": "elbow",
        "Fracture probability": "80.0 % (view 2)",
        "Mean of 3 views": "46.7 %",
        "Views assessed": "3 of 3",
    }
    assert text.reasons == ()  # the doubt about view 3 does not decide the study; it stands with the view
    assert "between the two thresholds" in text.views[2].sentences[-1]


def test_what_was_not_assessed_says_why(kit) -> None:
    text = text_of(kit, kit.out_of_scope(1), kit.unread(2), kit.assessed(3, 0.1))
    scope, broken, normal = text.views
    assert text.headline == "Inconclusive"
    assert (scope.headline, broken.headline) == ("Not assessed", "Not read")
    assert scope.region == "closest is hand (probability 41.0 %); not used"
    assert broken.region == broken.probability == ""
    assert "damaged" in broken.sentences[0]
    assert normal.scale is not None
    assert any("2 of 3" in reason for reason in text.reasons)


def test_rejected_and_failed_studies_are_named_so(kit) -> None:
    assert text_of(kit, kit.unread(), state=WorkState.REJECTED).headline.startswith("Not assessed")
    assert text_of(kit, kit.unread(), state=WorkState.FAILED).headline.startswith("Not finished")


def test_models_are_named_with_card_and_thresholds(kit) -> None:
    region, elbow = text_of(kit, *(kit.assessed(number) for number in (1, 2, 3))).models
    assert (region.name, region.version, region.card) == ("region-classifier", "0.3.1", "3f" * 6)
    assert (region.purpose, region.thresholds) == ("region and scope", "–")
    assert elbow.purpose == "fracture, views 1–3"
    assert elbow.thresholds == "suspected 31.0 %, fracture 70.5 %"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "below 0.1 %"), (1.0, "above 99.9 %"), (0.9991, "above 99.9 %"), (0.8321, "83.2 %"), (0.05, "5.0 %")],
)
def test_percent_never_claims_certainty(value, words) -> None:
    assert percent(value) == words


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Doe^Jane^Q^Dr^MD", "Doe, Dr Jane Q MD"),
        ("Doe", "Doe"),
        ("^Jane", "Jane"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎, やまだ たろう)"),
        ("=王^小明", "王 小明"),
        ("a^b^c^d^e^f^g", "a, d b c e"),
        ("", ""),
    ],
)
def test_person(name, shown) -> None:
    assert person(name) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("20261120", "2026-11-20"), ("2026.11.20", "2026-11-20"), ("", ""), ("unknown", "unknown"), ("2026", "2026")],
)
def test_date(text, shown) -> None:
    assert date(text) == shown
