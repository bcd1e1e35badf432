"""The DiagnosticReport against the models of FHIR R4B, whose resources used here equal R4's, and R4's own rules."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from typing import Any

import pytest

from fractureai.domain.assessment import Finding
from fractureai.domain.ports import FhirAttachment
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import Reason
from fractureai.domain.records import StudyRow
from fractureai.domain.result import FractureFinding, ImageResult, StudyResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, WorkState
from fractureai.reports.fhir import FhirDocumentWriter

MODEL = ModelIdentity("elbow", "0.1.0", "ab" * 32)
REGION = ModelIdentity("region", "0.1.0", "cd" * 32)
STUDY_ID = "0123456789abcdef0123456789abcdef"
ROW = StudyRow(
    site="local",
    study_id=STUDY_ID,
    batch_id="f" * 32,
    label="Case <1> & more",
    state=WorkState.DONE,
    stage=None,
    attempts=1,
    image_count=2,
    accepted_at_s=1_790_000_000.0,
    updated_at_s=1_790_000_009.0,
    finished_at_s=1_790_000_009.5,
    assessment=Assessment.SUSPECTED,
    region="elbow",
    max_fracture_probability=0.61,
    reasons=(),
)
HEADER = Header(
    media_type="application/dicom",
    patient_name="Doe, Jane <b>",
    patient_id="4711",
    patient_birth_date="19800229",
    patient_sex="F",
    accession_number="A1",
    study_instance_uid="1.2.840.1",
    sop_instance_uid="1.2.840.1.1",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
    study_date="20261123",
    laterality="L",
)


def result(state: WorkState = WorkState.DONE) -> StudyResult:
    seen = ImageResult(
        1,
        "a.dcm",
        Finding(Assessment.SUSPECTED, (Reason("near_threshold"),)),
        in_scope=True,
        region="elbow",
        region_probability=0.99,
        fracture_probability=0.61,
        thresholds=(0.4, 0.7),
        roi_px=(10, 20, 110, 220),
        findings=(FractureFinding((10, 20, 110, 220), 0.55, 1),),
        model=MODEL,
    )
    unseen = ImageResult(2, "b.dcm", Finding(Assessment.INCONCLUSIVE, (Reason("out_of_scope"),)))
    finding = Finding(Assessment.SUSPECTED, (Reason("views_not_assessed"),))
    return StudyResult(STUDY_ID, "Case", state, finding, (seen, unseen), (REGION, MODEL), "0.1.0")


def report(headers: dict[int, Header] | None = None, pdf: FhirAttachment | None = None, **named: Any) -> dict[str, Any]:
    found = {1: HEADER, 2: dataclasses.replace(HEADER, sop_instance_uid="1.2.840.1.2")} if headers is None else headers
    made = FhirDocumentWriter().report(ROW, named.get("result") or result(), found, pdf)
    return json.loads(json.dumps(made))


def validate(document: dict[str, Any]) -> Any:
    module = pytest.importorskip("fhir.resources.R4B.diagnosticreport", reason="fhir.resources is not installed")
    parsed = module.DiagnosticReport.model_validate(document)
    kept = json.loads(parsed.model_dump_json())
    assert kept.keys() == document.keys()
    check_r4(document)
    return parsed


def check_r4(document: dict[str, Any]) -> None:
    """Rules of R4 that the models do not look at: dom-2 to dom-5, ref-1, att-1, qty-3, obs-6, obs-7, ids, instants."""
    contained = document["contained"]
    text = json.dumps({**document, "contained": []})
    inner = "".join(json.dumps(entry) for entry in contained)
    for entry in contained:
        assert not {"contained", "meta"} & entry.keys()
        assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", entry["id"])
        assert f'"#{entry["id"]}"' in text + inner
        assert not {"dataAbsentReason", "value"} & entry.keys()
    for fragment in re.findall(r'"reference": "#([^"]+)"', text + inner):
        assert fragment in {entry["id"] for entry in contained}
    for quantity in re.findall(r'"valueQuantity": ({[^}]*})', inner):
        assert {"system", "code"} <= json.loads(quantity).keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["issued"])
    assert document["text"]["div"].startswith('<div xmlns="http://www.w3.org/1999/xhtml">')


def test_a_report_with_its_pdf_is_valid_and_never_final() -> None:
    pdf = b"%PDF-1.7 a report"
    document = report(pdf=FhirAttachment(data=pdf))
    parsed = validate(document)
    assert parsed.status == "preliminary"
    assert [entry["status"] for entry in document["contained"] if entry["resourceType"] == "Observation"] == [
        "preliminary",
        "preliminary",
    ]
    (form,) = document["presentedForm"]
    assert base64.b64decode(form["data"]) == pdf
    assert base64.b64decode(form["hash"]) == hashlib.sha1(pdf).digest()
    assert form["size"] == len(pdf)
    assert document["conclusion"].startswith("Fracture suspected.")
    assert "Not for diagnostic use" in document["conclusion"]
    assert document["imagingStudy"][0]["identifier"] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.1"}
    assert document["effectiveDateTime"] == "2026-11-23"
    assert document["meta"]["security"][0]["code"] == "AIAST"
    assert report(pdf=FhirAttachment(data=pdf)) == document


def test_every_image_is_an_observation() -> None:
    contained = {entry["id"]: entry for entry in report()["contained"]}
    seen, unseen = contained["image-1"], contained["image-2"]
    assert seen["valueCodeableConcept"]["coding"][0]["code"] == "suspected"
    values = {part["code"]["text"].split(",")[0]: part for part in seen["component"]}
    assert values["Calibrated probability of a fracture"]["valueQuantity"]["value"] == 0.61
    assert values["SOP Instance UID"]["valueString"] == "1.2.840.1.1"
    assert values["Region of interest"]["valueString"] == "10 20 110 220"
    assert values["Place 1"]["valueString"] == "10 20 110 220"
    assert values["Probability of a fracture at place 1"]["valueQuantity"]["value"] == 0.55
    site = {"system": "http://snomed.info/sct", "code": "53120007", "display": "Upper limb"}
    assert seen["bodySite"] == {"coding": [site], "text": "left elbow"}
    assert contained[seen["device"]["reference"][1:]]["identifier"][0]["value"] == "ab" * 32
    assert unseen["valueCodeableConcept"]["coding"][0]["code"] == "inconclusive"
    assert "does not look like the limb" in unseen["note"][0]["text"]
    assert "model-region" not in contained


def test_it_says_of_the_patient_what_the_source_says() -> None:
    patient = next(entry for entry in report()["contained"] if entry["resourceType"] == "Patient")
    assert patient == {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [{"type": {"text": "Patient ID of the images"}, "value": "4711"}],
        "name": [{"text": "Doe, Jane <b>"}],
        "gender": "female",
        "birthDate": "1980-02-29",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {1: Header("application/dicom", sop_class_uid="1.2", study_date="20261399", study_instance_uid="not a uid")},
        {1: HEADER, 2: dataclasses.replace(HEADER, patient_id="somebody else")},
        {1: dataclasses.replace(HEADER, patient_birth_date="1980", patient_sex="?", accession_number="")},
    ],
)
def test_a_poor_header_makes_a_poorer_report_and_no_wrong_one(headers: dict[int, Header]) -> None:
    document = report(headers, FhirAttachment(url="https://fracture.example/report.pdf"))
    validate(document)
    patients = [entry for entry in document["contained"] if entry["resourceType"] == "Patient"]
    assert ("subject" in document) is bool(patients)
    assert "Jane" not in json.dumps(document) or len(headers) == 1


@pytest.mark.parametrize("state", [WorkState.REJECTED, WorkState.FAILED])
def test_what_was_not_read_is_told_as_that(state: WorkState) -> None:
    document = report({}, result=result(state))
    validate(document)
    assert document["status"] == "preliminary"
    assert document["conclusion"].startswith("Not ")
    assert "presentedForm" not in document
