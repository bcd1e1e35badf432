"""classify: read pixels, normalise them, tell the region and whether the picture is in scope at all.

It also detects conflicts of patients and UIDs, and sets images aside (:mod:`fractureai.stages.identity`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from fractureai.domain import keys
from fractureai.domain.access import Kind
from fractureai.domain.anatomy import contradicts, names_no_limb
from fractureai.domain.assessment import Finding, scope_reasons
from fractureai.domain.audit import Act, AuditEvent
from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.ports import RegionModel
from fractureai.domain.radiograph import Header, Radiograph
from fractureai.domain.reasons import CONFLICTS, Reason
from fractureai.domain.records import Claim
from fractureai.domain.result import ImageResult, StudyResult
from fractureai.domain.scores import RegionReading
from fractureai.domain.study import Assessment, SourceImage, Stage, Study, WorkState
from fractureai.errors import RejectedInput
from fractureai.stages import identity
from fractureai.stages.artifacts import Classification, ClassifiedImage, write_json, write_reading
from fractureai.stages.lease import Closed, run_stage
from fractureai.stages.ports import StagePorts

Known = Callable[[Study, dict[int, str]], identity.Elsewhere]
"""What other studies have in common with one, given the hashes of its decoded pictures by number."""


def run(study_id: str, ports: StagePorts) -> str:
    """Do the stage; see :func:`fractureai.stages.lease.run_stage`."""
    return run_stage(Stage.CLASSIFY, study_id, ports, work)


def work(claim: Claim, ports: StagePorts) -> Closed | None:
    """Write ``images/<n>.png``, ``images/<n>.reading.npz`` and ``classification.json``.

    Closes the study if no file of it can be read.
    """

    def known(study: Study, pictures: dict[int, str]) -> identity.Elsewhere:
        # Its own names first: of two studies that are worked on at once, the later one sees the other.
        ports.ledger.name_images(study, pictures)
        others = {study_id: _headers(study.site, study_id, ports) for study_id in ports.ledger.studies_sharing(study)}
        return identity.Elsewhere(ports.ledger.known_images(study), others)

    found = classified(claim.study, known, ports)
    if isinstance(found, Closed):
        return found
    for conflict in _conflicts(found):
        ports.ledger.note(_audited(claim.study, conflict, ports.clock()), durable=False)
    return None


def classified(study: Study, known: Known, ports: StagePorts) -> Classification | Closed:
    """Classify the images of a study; ``known`` tells what other studies have in common with it."""
    model = ports.models.region()
    pictures: dict[int, str] = {}
    images = tuple(_classify(study, image, model, pictures, ports) for image in study.images)
    headers = [image.header for image in images if image.header]
    if not headers:
        return Closed(_rejected(study, images, ports.software_version))
    study = _named(study, images, ports)
    elsewhere = known(study, pictures)
    images = identity.settled(study, images, pictures, elsewhere.images)
    found = Classification(images, model.identity, identity.notes_of(headers, elsewhere.headers))
    write_json(ports.store, keys.classification_json(study.site, study.study_id), found.to_json())
    return found


def _classify(
    study: Study, image: SourceImage, model: RegionModel, pictures: dict[int, str], ports: StagePorts
) -> ClassifiedImage:
    """Read one file; the hash of its picture goes into ``pictures``."""
    try:
        with ports.store.as_file(keys.source(study.site, study.study_id, image.number)) as path:
            radiograph = ports.decoder.decode(path)
    except RejectedInput as error:
        return _unreadable(image, Reason(error.code, error.detail))
    pictures[image.number] = _picture_sha256(radiograph)
    png = ports.codec.encode_grey(radiograph.pixels)
    ports.store.put(keys.image_png(study.site, study.study_id, image.number), png)
    found = model.read(radiograph.pixels)
    write_reading(ports.store, keys.network_reading(study.site, study.study_id, image.number), found)
    return _classified(image, radiograph, model.interpret(found), model)


def _named(study: Study, images: Sequence[ClassifiedImage], ports: StagePorts) -> Study:
    """The study with the ids of its images; the intake knew them already if they came by it."""
    sources = []
    for source, image in zip(study.images, images, strict=True):
        if source.sop_id:
            sources.append(source)
            continue
        sop, examination = identity.ids_of(study.site, _identity(study, source, image, ports))
        sources.append(replace(source, sop_id=sop, examination_id=examination))
    return replace(study, images=tuple(sources))


def _identity(study: Study, source: SourceImage, image: ClassifiedImage, ports: StagePorts) -> InstanceIdentity | None:
    if header := image.header:
        return InstanceIdentity(header.sop_class_uid, header.sop_instance_uid, header.study_instance_uid)
    # Its pixels could not be read; its header may all the same.
    with ports.store.as_file(keys.source(study.site, study.study_id, source.number)) as path:
        return ports.decoder.identify(path)


def _headers(site: str, study_id: str, ports: StagePorts) -> list[Header]:
    """What the files of another study say; nothing as long as it was not classified."""
    try:
        data = json.loads(ports.store.get(keys.classification_json(site, study_id)))
    except KeyError:
        return []
    return [image.header for image in Classification.from_json(data).images if image.header]


def _picture_sha256(radiograph: Radiograph) -> str:
    """What tells a picture from another: the pixels as they are shown, and the extent they come from."""
    extent = f"{radiograph.source_height_px} {radiograph.source_width_px} {radiograph.pixels.shape}"
    return hashlib.sha256(extent.encode() + radiograph.pixels.tobytes()).hexdigest()


def _conflicts(found: Classification) -> list[Reason]:
    reasons = (*found.notes, *(reason for image in found.images for reason in image.notes))
    return list(dict.fromkeys(reason for reason in reasons if reason.code in CONFLICTS))


def _audited(study: Study, conflict: Reason, at_s: float) -> AuditEvent:
    return AuditEvent(
        study.site,
        Act.CONFLICT,
        at_s,
        Kind.OPERATOR.value,
        "service",
        "",
        subject_kind="study",
        subject=study.study_id,
        detail=": ".join(part for part in (conflict.code, conflict.detail) if part),
    )


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
