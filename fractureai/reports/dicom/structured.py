"""The result as Comprehensive 3D SR after TID 1500 (PS3.16): groups of measurements for every view and for
every place on it where a fracture may be, the study at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.domain.result import DISCLAIMER, FractureFinding, ImageResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment
from fractureai.reports.dicom import codes
from fractureai.reports.dicom.codes import Code, code
from fractureai.reports.dicom.encoding import Elements, elements, joined, part_10
from fractureai.reports.dicom.modules import MODEL_NAME, Frame, text
from fractureai.reports.dicom.source import SourceImage
from fractureai.reports.dicom.uids import uid
from fractureai.reports.wording import HEADLINES, PRODUCT

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_PLANAR_ROI, _NO_ROI = "1410", "1501"
_MODALITIES: dict[str, Code] = {
    "CR": ("CR", "DCM", "Computed Radiography"),
    "DX": ("DX", "DCM", "Digital Radiography"),
    "RG": ("RG", "DCM", "Radiographic imaging"),
    "RF": ("RF", "DCM", "Radiofluoroscopy"),
    "OT": ("OT", "DCM", "Other Modality"),
}


def structured_report(frame: Frame) -> tuple[DicomObject, bytes]:
    """The SR of a study."""
    what = frame.object_of(DicomKind.SR, COMPREHENSIVE_3D_SR)
    document = elements(
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        PreliminaryFlag="PRELIMINARY",
        ReferencedPerformedProcedureStepSequence=[],
        PerformedProcedureCodeSequence=[],
        CodingSchemeIdentificationSequence=[codes.scheme()],
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[code(codes.IMAGING_MEASUREMENT_REPORT)],
        ContinuityOfContent="SEPARATE",
        ContentTemplateSequence=[_template("1500")],
        ContentSequence=list(_content(frame)),
    )
    if frame.source.citable:
        document |= elements(CurrentRequestedProcedureEvidenceSequence=[_evidence(frame)])
    return what, part_10(joined(*frame.common(what, "SR"), document), what.sop_class_uid, what.sop_instance_uid)


def _evidence(frame: Frame) -> Elements:
    series: dict[str, list[Elements]] = {}
    for image in frame.source.citable:
        series.setdefault(image.series_uid, []).append(image.reference)
    items = [
        elements(SeriesInstanceUID=series_uid, ReferencedSOPSequence=references)
        for series_uid, references in series.items()
    ]
    return elements(StudyInstanceUID=frame.source.uid, ReferencedSeriesSequence=items)


def _content(frame: Frame) -> Iterator[Elements]:
    yield _coded("HAS CONCEPT MOD", codes.LANGUAGE, codes.ENGLISH)
    yield _coded("HAS OBS CONTEXT", codes.OBSERVER_TYPE, codes.DEVICE)
    yield _item("HAS OBS CONTEXT", "UIDREF", codes.DEVICE_UID, UID=frame.device_uid)
    yield _text("HAS OBS CONTEXT", codes.DEVICE_NAME, f"{PRODUCT} {frame.result.software_version}")
    yield _text("HAS OBS CONTEXT", codes.DEVICE_MANUFACTURER, PRODUCT)
    yield _text("HAS OBS CONTEXT", codes.DEVICE_MODEL, MODEL_NAME)
    yield _coded("HAS CONCEPT MOD", codes.PROCEDURE_REPORTED, codes.PLAIN_RADIOGRAPHY)
    if frame.source.citable:
        entries = [_library_entry(image) for image in frame.source.citable]
        library = _container(codes.IMAGE_LIBRARY_GROUP, entries, "1601")
        yield _container(codes.IMAGE_LIBRARY, [library], "1600")
    groups = [group for image in frame.result.views for group in _groups(frame, image)]
    yield _container(codes.IMAGING_MEASUREMENTS, groups)
    yield _container(codes.QUALITATIVE_EVALUATIONS, list(_study_evaluations(frame)))


def _library_entry(image: SourceImage) -> Elements:
    described = []
    modality, side = image.text("Modality"), image.text("ImageLaterality") or image.text("Laterality")
    if modality in _MODALITIES:
        described.append(_coded("HAS ACQ CONTEXT", codes.MODALITY, _MODALITIES[modality]))
    if side in codes.SIDES:
        described.append(_coded("HAS ACQ CONTEXT", codes.IMAGE_LATERALITY, codes.SIDES[side]))
    row, _, column = image.text("PatientOrientation").strip("[]").replace("'", "").replace(" ", "").partition(",")
    for concept, direction in ((codes.ORIENTATION_ROW, row), (codes.ORIENTATION_COLUMN, column)):
        if direction:
            described.append(_text("HAS ACQ CONTEXT", concept, direction))
    return _item("CONTAINS", "IMAGE", None, ReferencedSOPSequence=[image.reference], ContentSequence=described)


def _groups(frame: Frame, image: ImageResult) -> Iterator[Elements]:
    """The view's, then one for each finding on it."""
    source = frame.source.image(image.number)
    cited = source if source and source.is_citable else None
    attention = None if image.findings else image.roi_px
    template = _PLANAR_ROI if cited and attention else _NO_ROI
    yield _container(codes.MEASUREMENT_GROUP, list(_view_content(frame, image, source, attention)), template)
    if cited is None:
        return  # a place without its image says nothing
    for finding in image.findings:
        content = list(_finding_content(frame, image, finding, cited))
        yield _container(codes.MEASUREMENT_GROUP, content, _PLANAR_ROI)


def _finding_content(
    frame: Frame, image: ImageResult, finding: FractureFinding, source: SourceImage
) -> Iterator[Elements]:
    yield _text("HAS OBS CONTEXT", codes.TRACKING_IDENTIFIER, f"View {image.number}, place {finding.rank}")
    tracked = uid("tracking", frame.basis, image.number, finding.rank)
    yield _item("HAS OBS CONTEXT", "UIDREF", codes.TRACKING_UID, UID=tracked)
    yield _coded("CONTAINS", codes.FINDING, codes.FRACTURE)
    if image.model:
        yield from _algorithm(image, image.model)
    yield from _site(image, source)
    yield _roi(finding.box_px, source)
    yield _probability(finding.probability)


def _view_content(
    frame: Frame, image: ImageResult, source: SourceImage | None, attention: tuple[int, int, int, int] | None
) -> Iterator[Elements]:
    yield _text("HAS OBS CONTEXT", codes.TRACKING_IDENTIFIER, f"View {image.number}")
    yield _item("HAS OBS CONTEXT", "UIDREF", codes.TRACKING_UID, UID=uid("tracking", frame.basis, image.number))
    if image.finding.assessment in {Assessment.FRACTURE, Assessment.SUSPECTED}:
        # Nothing that is not seen is called a finding, not even to be denied below: some readers stop here.
        yield _coded("CONTAINS", codes.FINDING, codes.FRACTURE)
    if image.model:
        yield from _algorithm(image, image.model)
    yield from _site(image, source)
    cited = source if source and source.is_citable else None
    if cited and attention:
        yield _roi(attention, cited)
    elif cited:
        yield _item("CONTAINS", "IMAGE", codes.SOURCE_OF_MEASUREMENT, ReferencedSOPSequence=[cited.reference])
    if image.fracture_probability is not None:
        yield _probability(image.fracture_probability)
    yield _coded("CONTAINS", codes.FRACTURE, codes.ASSESSMENTS[image.finding.assessment])
    for reason in image.finding.reasons:
        yield _text("CONTAINS", codes.REASON, reason.sentence)


def _site(image: ImageResult, source: SourceImage | None) -> Iterator[Elements]:
    if image.region and image.in_scope:
        side = (source.text("ImageLaterality") or source.text("Laterality")) if source else ""
        sides = [_coded("HAS CONCEPT MOD", codes.LATERALITY, codes.SIDES[side])] if side in codes.SIDES else []
        site = [code(codes.site(image.region, image.view.body_part if image.view else ""))]
        yield _item("HAS CONCEPT MOD", "CODE", codes.FINDING_SITE, ConceptCodeSequence=site, ContentSequence=sides)


def _algorithm(image: ImageResult, model: ModelIdentity) -> Iterator[Elements]:
    yield _text("HAS CONCEPT MOD", codes.ALGORITHM_NAME, model.name)
    yield _text("HAS CONCEPT MOD", codes.ALGORITHM_VERSION, model.version)
    if image.thresholds:
        suspected, fracture = image.thresholds
        limits = f"suspected from {suspected:.6g}, fracture from {fracture:.6g}"
        yield _text("HAS CONCEPT MOD", codes.ALGORITHM_PARAMETERS, limits)
    yield _text("HAS CONCEPT MOD", codes.ALGORITHM_PARAMETERS, f"card sha256 {model.card_sha256}")


def _roi(roi_px: tuple[int, int, int, int], source: SourceImage) -> Elements:
    """The region as a closed polyline. Origin at the outer top-left corner, as ours (PS3.3 section C.18.6.1.1)."""
    x0, y0, x1, y1 = map(float, roi_px)
    image = _item("SELECTED FROM", "IMAGE", None, ReferencedSOPSequence=[source.reference])
    corners = [x0, y0, x1, y0, x1, y1, x0, y1, x0, y0]
    return _item(
        "CONTAINS", "SCOORD", codes.IMAGE_REGION, GraphicType="POLYLINE", GraphicData=corners, ContentSequence=[image]
    )


def _probability(probability: float) -> Elements:
    percent = probability * 100
    value = elements(NumericValue=f"{percent:.2f}", MeasurementUnitsCodeSequence=[code(codes.PERCENT)])
    return _item("CONTAINS", "NUM", codes.PROBABILITY, MeasuredValueSequence=[value])


def _study_evaluations(frame: Frame) -> Iterator[Elements]:
    finding = frame.result.finding
    yield _coded("CONTAINS", codes.FRACTURE, codes.ASSESSMENTS[finding.assessment])
    yield _text("CONTAINS", codes.COMMENT, f"{HEADLINES[finding.assessment]}. {DISCLAIMER}")
    for reason in finding.reasons:
        yield _text("CONTAINS", codes.REASON, reason.sentence)


def _item(relationship: str, value_type: str, concept: Code | None, **value: Any) -> Elements:
    name = {"ConceptNameCodeSequence": [code(concept)]} if concept else {}
    value = {keyword: content for keyword, content in value.items() if keyword != "ContentSequence" or content}
    return elements(RelationshipType=relationship, ValueType=value_type, **name, **value)


def _coded(relationship: str, concept: Code, value: Code) -> Elements:
    return _item(relationship, "CODE", concept, ConceptCodeSequence=[code(value)])


def _text(relationship: str, concept: Code, value: str) -> Elements:
    return _item(relationship, "TEXT", concept, TextValue=text(value, 1024))


def _container(concept: Code, content: list[Elements], template: str = "") -> Elements:
    used = {"ContentTemplateSequence": [_template(template)]} if template else {}
    return _item("CONTAINS", "CONTAINER", concept, ContinuityOfContent="SEPARATE", ContentSequence=content, **used)


def _template(identifier: str) -> Elements:
    return elements(MappingResource="DCMR", TemplateIdentifier=identifier)
