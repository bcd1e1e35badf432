"""classify: read pixels, normalise them, tell the region and whether the picture is in scope at all."""

from __future__ import annotations

from fractureai.domain import keys
from fractureai.domain.anatomy import contradicts, names_no_limb
from fractureai.domain.assessment import Finding, scope_reasons
from fractureai.domain.ports import RegionModel
from fractureai.domain.radiograph import Radiograph
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim
from fractureai.domain.result import ImageResult, StudyResult
from fractureai.domain.scores import RegionReading
from fractureai.domain.study import Assessment, SourceImage, Stage, Study, WorkState
from fractureai.errors import RejectedInput
from fractureai.stages.artifacts import Classification, ClassifiedImage, write_json
from fractureai.stages.lease import Closed, run_stage
from fractureai.stages.ports import StagePorts


def run(study_id: str, ports: StagePorts) -> str:
    """Do the stage; see :func:`fractureai.stages.lease.run_stage`."""
    return run_stage(Stage.CLASSIFY, study_id, ports, work)


def work(claim: Claim, ports: StagePorts) -> Closed | None:
    """Write ``images/<n>.png`` and ``classification.json``; close the study if no file of it can be read."""
    study = claim.study
    model = ports.models.region()
    images = tuple(_classify(study, image, model, ports) for image in study.images)
    if not any(image.header for image in images):
        return Closed(_rejected(study, images, ports.software_version))
    artifact = Classification(images, model.identity)
    write_json(ports.store, keys.classification_json(study.site, study.study_id), artifact.to_json())
    return None


def _classify(study: Study, image: SourceImage, model: RegionModel, ports: StagePorts) -> ClassifiedImage:
    try:
        with ports.store.as_file(keys.source(study.site, study.study_id, image.number)) as path:
            radiograph = ports.decoder.decode(path)
    except RejectedInput as error:
        return _unreadable(image, Reason(error.code, error.detail))
    png = ports.codec.encode_grey(radiograph.pixels)
    ports.store.put(keys.image_png(study.site, study.study_id, image.number), png)
    (reading,) = model.read([radiograph.pixels])
    return _classified(image, radiograph, reading, model)


def _classified(
    image: SourceImage, radiograph: Radiograph, reading: RegionReading, model: RegionModel
) -> ClassifiedImage:
    body_part = radiograph.header.body_part_examined
    obstacles = scope_reasons(reading, model.card)
    if not obstacles and names_no_limb(body_part):
        obstacles = (Reason("body_part_out_of_scope"),)
    notes: tuple[Reason, ...] = ()
    if not obstacles and contradicts(body_part, reading.name):
        notes = (Reason("body_part_mismatch", f"seen: {reading.name}"),)
    return ClassifiedImage(
        number=image.number,
        header=radiograph.header,
        height_px=radiograph.pixels.shape[0],
        width_px=radiograph.pixels.shape[1],
        source_height_px=radiograph.source_height_px,
        source_width_px=radiograph.source_width_px,
        pixel_spacing_mm=radiograph.pixel_spacing_mm,
        probabilities=reading.probabilities,
        scope_score=reading.scope_score,
        notes=notes,
        obstacles=obstacles,
        dicom_context=radiograph.dicom_context,
    )


def _unreadable(image: SourceImage, reason: Reason) -> ClassifiedImage:
    return ClassifiedImage(image.number, None, 0, 0, 0, 0, None, {}, None, (), (reason,))


def _rejected(study: Study, images: tuple[ClassifiedImage, ...], software_version: str) -> StudyResult:
    results = tuple(
        ImageResult(source.number, source.file_name, Finding(Assessment.INCONCLUSIVE, image.obstacles))
        for source, image in zip(study.images, images, strict=True)
    )
    reasons = tuple(dict.fromkeys(reason for image in images for reason in image.obstacles))
    finding = Finding(Assessment.INCONCLUSIVE, reasons)
    return StudyResult(study.study_id, study.label, WorkState.REJECTED, finding, results, (), software_version)
