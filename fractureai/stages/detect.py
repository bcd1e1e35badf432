"""detect: the fracture model of the region seen, its calibrated probability and its attention map."""

from __future__ import annotations

import numpy as np

from fractureai.domain import keys
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim
from fractureai.domain.roi import relative_attention
from fractureai.domain.study import Stage
from fractureai.stages.artifacts import (
    ClassifiedImage,
    DetectedImage,
    read_bytes,
    read_classification,
    write_json,
)
from fractureai.stages.lease import Closed, run_stage
from fractureai.stages.ports import StagePorts


def run(study_id: str, ports: StagePorts) -> str:
    """Do the stage; see :func:`fractureai.stages.lease.run_stage`."""
    return run_stage(Stage.DETECT, study_id, ports, work)


def work(claim: Claim, ports: StagePorts) -> Closed | None:
    """Write ``images/<n>.map.png`` for every image in scope, then ``detection.json``."""
    study = claim.study
    classification = read_classification(ports.store, study)
    detected = [_detect(claim, image, ports) for image in classification.images if image.in_scope]
    artifact = {"images": [image.to_json() for image in detected]}
    write_json(ports.store, keys.detection_json(study.site, study.study_id), artifact)
    return None


def _detect(claim: Claim, image: ClassifiedImage, ports: StagePorts) -> DetectedImage:
    study, region = claim.study, image.region or ""
    model = ports.models.fracture(region)
    if model is None or model.card.operating_points is None:
        return DetectedImage(image.number, None, 0.0, None, None, Reason("no_model_for_region", region))
    png = read_bytes(ports.store, keys.image_png(study.site, study.study_id, image.number))
    (reading,) = model.read([ports.codec.decode_grey(png)])
    # 256 steps are plenty for a map that is shown, not measured; eight bits keep the artifact under a kilobyte.
    steps = np.rint(relative_attention(reading.attention) * 255).astype(np.uint8)
    key = keys.attention_map(study.site, study.study_id, image.number)
    ports.store.put(key, ports.codec.encode_grey(steps))
    points = model.card.operating_points
    thresholds = (points.suspected.threshold, points.fracture.threshold)
    return DetectedImage(image.number, reading.probability, reading.spread, thresholds, model.identity)
