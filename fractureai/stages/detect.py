"""detect: what the fracture model of the region seen makes of an image: its probability, boxes and attention.

The network has run already where the region classifier and the fracture model share one.
"""

from __future__ import annotations

import numpy as np

from fractureai.domain import keys
from fractureai.domain.ports import FractureModel
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim
from fractureai.domain.roi import relative_attention
from fractureai.domain.scores import NetworkReading
from fractureai.domain.study import Stage
from fractureai.stages.artifacts import (
    Attention,
    ClassifiedImage,
    DetectedImage,
    read_bytes,
    read_classification,
    read_reading,
    write_json,
)
from fractureai.stages.lease import Closed, run_stage
from fractureai.stages.ports import StagePorts


def run(study_id: str, ports: StagePorts) -> str:
    """Do the stage; see :func:`fractureai.stages.lease.run_stage`."""
    return run_stage(Stage.DETECT, study_id, ports, work)


def work(claim: Claim, ports: StagePorts) -> Closed | None:
    """Write ``detection.json``: an entry for every image in scope."""
    study = claim.study
    classification = read_classification(ports.store, study)
    detected = [_detect(claim, image, ports) for image in classification.images if image.in_scope]
    artifact = {"images": [image.to_json() for image in detected]}
    write_json(ports.store, keys.detection_json(study.site, study.study_id), artifact)
    return None


def _detect(claim: Claim, image: ClassifiedImage, ports: StagePorts) -> DetectedImage:
    region = image.region or ""
    model = ports.models.fracture(region)
    if model is None or model.card.operating_points is None:
        return DetectedImage(image.number, None, 0.0, None, None, obstacle=Reason("no_model_for_region", region))
    of_network = _reading(claim, image, model, ports)
    found = model.interpret(of_network)
    steps = np.rint(relative_attention(found.attention) * 255).astype(np.uint8)
    points = model.card.operating_points
    return DetectedImage(
        image.number,
        found.probability,
        found.spread,
        (points.suspected.threshold, points.fracture.threshold),
        model.identity,
        found.boxes,
        Attention(steps, of_network.placement),
    )


def _reading(claim: Claim, image: ClassifiedImage, model: FractureModel, ports: StagePorts) -> NetworkReading:
    """What the model's network says of an image, from the stage before where it is the same network."""
    site, study_id = claim.study.site, claim.study.study_id
    shared = read_reading(ports.store, keys.network_reading(site, study_id, image.number))
    if shared.network == model.network:
        return shared
    png = read_bytes(ports.store, keys.image_png(site, study_id, image.number))
    return model.read(ports.codec.decode_grey(png))
