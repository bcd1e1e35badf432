"""report: everything that was found, as PDF for people, as DICOM for archives, as ``result.json`` for machines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fractureai.domain import keys
from fractureai.domain.assessment import Finding, assess_probability, assess_study, beyond_doubt
from fractureai.domain.ports import ReportImage
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import TEXT_NOTES, Reason
from fractureai.domain.records import Claim
from fractureai.domain.result import ImageResult, StudyResult, ViewTags
from fractureai.domain.roi import square_extent
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, SourceImage, Stage, WorkState
from fractureai.stages.artifacts import (
    Classification,
    ClassifiedImage,
    DetectedImage,
    ExplainedImage,
    read_bytes,
    read_classification,
    read_json,
)
from fractureai.stages.lease import Closed, run_stage
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The artifacts of the stages before, by image number."""

    classification: Classification
    detected: Mapping[int, DetectedImage]
    explained: Mapping[int, ExplainedImage]


def run(study_id: str, ports: StagePorts) -> str:
    """Do the stage; see :func:`fractureai.stages.lease.run_stage`."""
    return run_stage(Stage.REPORT, study_id, ports, work)


def work(claim: Claim, ports: StagePorts) -> Closed | None:
    """Write ``report.pdf`` and the DICOM results, and close the study with its result."""
    evidence = read_evidence(claim, ports)
    result = conclude(claim, evidence, ports.software_version)
    classified = {image.number: image for image in evidence.classification.images}
    images = [_pictures(claim, image, classified[image.number], ports) for image in result.images]
    pdf = ports.report_writer.write(claim.study, result, images)
    ports.store.put(keys.report_pdf(claim.study.site, claim.study.study_id), pdf)
    return Closed(_with_dicom(claim, result, images, pdf, ports))


def _with_dicom(
    claim: Claim, result: StudyResult, images: Sequence[ReportImage], pdf: bytes, ports: StagePorts
) -> StudyResult:
    """Write the DICOM results, if they are wanted, and list them in the result."""
    study, writer = claim.study, ports.dicom_writer
    if writer is None:
        return result
    try:
        written = writer.write(study, result, images, pdf)
    except Exception:  # an odd header must not cost the report, which is there already; the result says so
        _LOG.exception("study %s: no DICOM results", study.study_id)
        written = Reason("dicom_failed")
    if isinstance(written, Reason):
        return replace(result, no_dicom=written)
    for what, data in written:
        ports.store.put(keys.dicom_object(study.site, study.study_id, what.name), data)
    return replace(result, dicom_objects=tuple(what for what, _ in written))


def read_evidence(claim: Claim, ports: StagePorts) -> Evidence:
    """Gather what the stages before have written."""
    site, study_id = claim.study.site, claim.study.study_id
    classification = read_classification(ports.store, claim.study)
    detection = read_json(ports.store, keys.detection_json(site, study_id))
    explanation = read_json(ports.store, keys.explanation_json(site, study_id))
    detected = (DetectedImage.from_json(entry) for entry in detection["images"])
    return Evidence(
        classification,
        {image.number: image for image in detected},
        {entry["number"]: ExplainedImage.from_json(entry) for entry in explanation["images"]},
    )


def conclude(claim: Claim, evidence: Evidence, software_version: str) -> StudyResult:
    """Decide on every image and on the study."""
    study = claim.study
    classified = {image.number: image for image in evidence.classification.images}
    images = tuple(_conclude_image(source, classified[source.number], evidence) for source in study.images)
    counted = [image.finding for image in images if not image.set_aside]
    set_aside = [reason for image in images if image.set_aside for reason in image.finding.reasons]
    used: dict[str, ModelIdentity] = {"region": evidence.classification.model}
    used.update((image.model.name, image.model) for image in images if image.model)
    return StudyResult(
        study_id=study.study_id,
        label=study.label,
        state=WorkState.DONE,
        finding=assess_study(counted, (*evidence.classification.notes, *set_aside)),
        images=images,
        models=tuple(used.values()),
        software_version=software_version,
    )


def _conclude_image(source: SourceImage, classified: ClassifiedImage, evidence: Evidence) -> ImageResult:
    detected = evidence.detected.get(source.number)
    finding = _finding(classified, detected, evidence.classification.notes)
    finding = _with_text_note(finding, classified.header)
    assessed = detected is not None and detected.probability is not None
    explained = evidence.explained.get(source.number, ExplainedImage(source.number))
    region = classified.region
    source_px = (classified.source_height_px, classified.source_width_px)
    shown = square_extent(source_px, (classified.height_px, classified.width_px)) if all(source_px) else None
    return ImageResult(
        number=source.number,
        file=source.file_name,
        finding=finding,
        in_scope=classified.in_scope,
        region=region,
        region_probability=classified.probabilities[region] if region else None,
        fracture_probability=detected.probability if detected else None,
        fracture_spread=detected.spread if detected and assessed else None,
        thresholds=detected.thresholds if detected else None,
        roi_px=explained.roi_px,
        findings=explained.findings,
        source_height_px=classified.source_height_px or None,
        source_width_px=classified.source_width_px or None,
        shown_height_px=shown[0] if shown else None,
        shown_width_px=shown[1] if shown else None,
        model=detected.model if detected else None,
        artifacts=(*(("image",) if classified.header else ()), *explained.artifacts),
        view=_view(classified.header),
        set_aside=classified.set_aside is not None,
    )


def _with_text_note(finding: Finding, header: Header | None) -> Finding:
    """The finding, and what must be said of the header's text; it changes no assessment."""
    if header is None or header.text_note not in TEXT_NOTES:
        return finding
    return replace(finding, reasons=(*finding.reasons, Reason(header.text_note)))


def _view(header: Header | None) -> ViewTags | None:
    """What a DICOM header says of the view; other files say nothing."""
    if header is None or header.media_type != "application/dicom":
        return None
    return ViewTags(header.laterality, header.view_position, header.patient_orientation, header.body_part_examined)


def _finding(classified: ClassifiedImage, detected: DetectedImage | None, of_the_study: Sequence[Reason]) -> Finding:
    if classified.set_aside is not None:
        return Finding(Assessment.INCONCLUSIVE, (classified.set_aside, *classified.notes))
    if detected is None:
        return Finding(Assessment.INCONCLUSIVE, classified.obstacles + classified.notes)
    if detected.probability is None or detected.thresholds is None:
        obstacles = (detected.obstacle,) if detected.obstacle else ()
        return Finding(Assessment.INCONCLUSIVE, obstacles + classified.notes)
    finding = assess_probability(detected.probability, detected.thresholds)
    finding = beyond_doubt(finding, (*classified.notes, *of_the_study))
    return Finding(finding.assessment, tuple(dict.fromkeys(finding.reasons + classified.notes)))


def _pictures(claim: Claim, image: ImageResult, classified: ClassifiedImage, ports: StagePorts) -> ReportImage:
    site, study_id, number = claim.study.site, claim.study.study_id, image.number

    def read(name: str, key: str) -> bytes | None:
        return read_bytes(ports.store, key) if name in image.artifacts else None

    return ReportImage(
        result=image,
        header=classified.header,
        image_png=read("image", keys.image_png(site, study_id, number)),
        overlay_jpg=read("overlay", keys.overlay_jpg(site, study_id, number)),
        roi_png=read("roi", keys.roi_png(site, study_id, number)),
        dicom_context=classified.dicom_context,
    )
