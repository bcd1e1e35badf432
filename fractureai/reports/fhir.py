"""The result as a FHIR R4 ``DiagnosticReport`` (hl7.org/fhir/R4/diagnosticreport.html), whole in one resource.

Patient, models and one ``Observation`` a view are contained, so that a server that has none of them can store it.
Its status is ``preliminary``, always: nobody has verified it, and it says that a machine asserted it. What it tells of
the patient is what the source's header says, and no more.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from fractureai.domain.anatomy import finding_site
from fractureai.domain.identity import patient_differences
from fractureai.domain.ports import FhirAttachment
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import Reason
from fractureai.domain.records import StudyRow
from fractureai.domain.result import DISCLAIMER, FractureFinding, ImageResult, StudyResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import WorkState
from fractureai.reports.wording import HEADLINES, MEANINGS, NOT_FOR_DIAGNOSIS, PRODUCT, RECOMMENDATIONS, STATE_HEADLINES

Json = dict[str, Any]

MEDIA_TYPE = "application/fhir+json; fhirVersion=4.0"
ASSESSMENT_SYSTEM = "urn:fractureai:assessment"
MODEL_SYSTEM = "urn:fractureai:model-card-sha256"
_URI, _DICOM_UID, _UCUM = "urn:ietf:rfc:3986", "urn:dicom:uid", "http://unitsofmeasure.org"
_SNOMED = "http://snomed.info/sct"
_GENDERS = {"M": "male", "F": "female", "O": "other"}
# HL7 v3 ObservationValue: asserted by an artificial intelligence.
_AI = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
_IMAGING = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"}]}
_RADIOLOGY = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}]
}
_STUDY_REPORT = {
    "coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}],
    "text": "Assessment of limb radiographs by machine",
}
_FRACTURE = {
    "coding": [{"system": _SNOMED, "code": "125605004", "display": "Fracture of bone"}],
    "text": "Signs of a fracture",
}


class FhirDocumentWriter:
    """The ``FhirWriter`` port."""

    def report(
        self,
        row: StudyRow,
        result: StudyResult,
        headers: Mapping[int, Header],
        pdf: FhirAttachment | None,
    ) -> Json:
        """One resource, the same for the same input. ``headers`` by image number, of the files that are DICOM."""
        header = next(iter(headers.values()), None)
        all_headers = list(headers.values())
        # Also of a study that failed before it came to a result.
        is_one_patient = not (result.warnings or patient_differences(all_headers))
        patient = _patient(all_headers) if is_one_patient else None
        subject = {"subject": {"reference": "#patient"}} if patient else {}
        models = {model.name: _device(model) for model in result.models if _reads(model, result.images)}
        imaging = _imaging_study(header)
        observations = [
            _observation(image, headers.get(image.number), subject, imaging, result.state) for image in result.views
        ]
        contained = [*([patient] if patient else []), *models.values(), *observations]
        performed = _date(header.study_date) if header else None
        words = conclusion(result)
        return {
            "resourceType": "DiagnosticReport",
            "id": row.study_id,
            "meta": {"security": [_AI]},
            "language": "en",
            "text": {"status": "generated", "div": _narrative(words)},
            "contained": contained,
            "identifier": [
                {"system": _URI, "value": f"urn:uuid:{_dashed(row.study_id)}"},
                *(_accessions(all_headers) if is_one_patient else ()),
            ],
            "status": "preliminary",
            "category": [_RADIOLOGY],
            "code": _STUDY_REPORT,
            **subject,
            **({"effectiveDateTime": performed} if performed else {}),
            "issued": _instant(row.finished_at_s or row.updated_at_s),
            "result": [{"reference": f"#{observation['id']}"} for observation in observations],
            **({"imagingStudy": [imaging]} if imaging else {}),
            "conclusion": words,
            **({"presentedForm": [_attachment(pdf, row)]} if pdf else {}),
        }


def conclusion(result: StudyResult) -> str:
    """The study's assessment in words, with its reasons and what to do."""
    assessment, warnings = result.finding.assessment, result.warnings
    reasons = _sentences([reason for reason in result.finding.reasons if reason not in warnings])
    if result.state is not WorkState.DONE:
        parts = [f"{STATE_HEADLINES[result.state]}.", *reasons]
    else:
        parts = [f"{HEADLINES[assessment]}.", MEANINGS[assessment], *reasons, RECOMMENDATIONS[assessment]]
    return " ".join([*_sentences(warnings), *parts, f"Unverified. {DISCLAIMER}"])


def _sentences(reasons: Sequence[Reason]) -> list[str]:
    return list(dict.fromkeys(reason.sentence for reason in reasons))


def _observation(
    image: ImageResult, header: Header | None, subject: Json, imaging: Json | None, state: WorkState
) -> Json:
    assessment = image.finding.assessment
    words = HEADLINES[assessment] if state is WorkState.DONE else STATE_HEADLINES[state]
    parts = [
        _number("Calibrated probability of a fracture", image.fracture_probability),
        *(
            _number(name, value)
            for name, value in zip(
                ("Threshold from which a fracture is suspected", "Threshold from which a fracture is likely"),
                image.thresholds or (None, None),
                strict=True,
            )
        ),
        _text("Region of interest, x0 y0 x1 y1 in pixels of the source image", " ".join(map(str, image.roi_px or ()))),
        *(part for finding in image.findings for part in _place(finding)),
        _text("SOP Instance UID", header.sop_instance_uid if header else ""),
    ]
    components = [part for part in parts if part]
    found: Json = {
        "resourceType": "Observation",
        "id": f"image-{image.number}",
        "status": "preliminary",
        "category": [_IMAGING],
        "code": _FRACTURE,
        **subject,
        "valueCodeableConcept": {
            "coding": [{"system": ASSESSMENT_SYSTEM, "code": assessment.value, "display": HEADLINES[assessment]}],
            "text": words,
        },
    }
    if notes := _sentences(image.finding.reasons):
        found["note"] = [{"text": sentence} for sentence in notes]
    if image.region and image.in_scope:
        found["bodySite"] = _body_site(image.region, header)
    if image.model:
        found["device"] = {"reference": f"#{_device_id(image.model)}"}
    if imaging:
        found["derivedFrom"] = [imaging]
    if components:
        found["component"] = components
    return found


def _place(finding: FractureFinding) -> tuple[Json | None, Json | None]:
    box = " ".join(map(str, finding.box_px))
    return (
        _text(f"Place {finding.rank}, x0 y0 x1 y1 in pixels of the source image", box),
        _number(f"Probability of a fracture at place {finding.rank}", finding.probability),
    )


def _body_site(region: str, header: Header | None) -> Json:
    side = {"L": "left ", "R": "right "}.get(header.laterality[:1].upper() if header else "", "")
    part = finding_site(region, header.body_part_examined if header else "")
    coding = {"coding": [{"system": _SNOMED, "code": part.code, "display": part.meaning}]} if part else {}
    return {**coding, "text": f"{side}{region}"}


def _number(name: str, value: float | None) -> Json | None:
    if value is None:
        return None
    quantity = {"value": round(value, 6), "unit": "probability", "system": _UCUM, "code": "1"}
    return {"code": {"text": name}, "valueQuantity": quantity}


def _text(name: str, value: str) -> Json | None:
    return {"code": {"text": name}, "valueString": value} if value else None


def _patient(headers: Sequence[Header]) -> Json | None:
    """What the files say of the patient, each from the first that says it; they agree on whom they mean."""

    def first(name: str) -> str:
        return next((value for header in headers if (value := getattr(header, name))), "")

    found: Json = {"resourceType": "Patient", "id": "patient"}
    if patient_id := first("patient_id"):
        found["identifier"] = [{"type": {"text": "Patient ID of the images"}, "value": patient_id}]
    if name := first("patient_name"):
        found["name"] = [{"text": name}]
    if not (patient_id or name):
        return None
    if (sex := first("patient_sex")) in _GENDERS:
        found["gender"] = _GENDERS[sex]
    if born := _date(first("patient_birth_date")):
        found["birthDate"] = born
    return found


def _reads(model: ModelIdentity, images: Sequence[ImageResult]) -> bool:
    return any(image.model == model for image in images)


def _device(model: ModelIdentity) -> Json:
    return {
        "resourceType": "Device",
        "id": _device_id(model),
        "identifier": [{"system": MODEL_SYSTEM, "value": model.card_sha256}],
        "manufacturer": PRODUCT,
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "version": [{"value": model.version}],
        "note": [{"text": f"{NOT_FOR_DIAGNOSIS}."}],
    }


def _device_id(model: ModelIdentity) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", f"model-{model.name}")[:64]


def _imaging_study(header: Header | None) -> Json | None:
    """The source's study by its UID: a reference that holds wherever the server keeps its own resource of it."""
    uid = header.study_instance_uid if header else ""
    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        return None
    return {"type": "ImagingStudy", "identifier": {"system": _DICOM_UID, "value": f"urn:oid:{uid}"}}


def _accessions(headers: Sequence[Header]) -> list[Json]:
    """The orders that the files name."""
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN", "display": "Accession ID"}
    numbers = dict.fromkeys(header.accession_number for header in headers if header.accession_number)
    return [{"type": {"coding": [kind]}, "value": number} for number in numbers]


def _attachment(pdf: FhirAttachment, row: StudyRow) -> Json:
    found: Json = {"contentType": "application/pdf", "language": "en", "title": f"{PRODUCT} report"}
    if pdf.data is not None:
        digest = hashlib.sha1(pdf.data, usedforsecurity=False).digest()  # as FHIR asks
        found |= {"data": _base64(pdf.data), "size": len(pdf.data), "hash": _base64(digest)}
    else:
        found["url"] = pdf.url
    return found | {"creation": _instant(row.finished_at_s or row.updated_at_s)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _narrative(words: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{html.escape(words)}</p></div>'


def _dashed(study_id: str) -> str:
    return "-".join((study_id[:8], study_id[8:12], study_id[12:16], study_id[16:20], study_id[20:]))


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _date(text: str) -> str | None:
    """A DICOM date as FHIR writes it; ``None`` for what is no date."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).isoformat() if re.fullmatch(r"\d{8}", text) else None
    except ValueError:
        return None
