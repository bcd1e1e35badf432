"""explain: the attention map as heat map and region of interest, for every assessed image."""

from __future__ import annotations

import numpy as np

from fractureai.domain import keys
from fractureai.domain.canvas import crop_map
from fractureai.domain.records import Claim
from fractureai.domain.roi import relative_attention, rescale_box, roi_from_attention
from fractureai.domain.study import Stage
from fractureai.stages.artifacts import (
    Box,
    ClassifiedImage,
    DetectedImage,
    read_bytes,
    read_classification,
    read_json,
    write_json,
)
from fractureai.stages.lease import Closed, run_stage
from fractureai.stages.ports import StagePorts


def run(study_id: str, ports: StagePorts) -> str:
    """Do the stage; see :func:`fractureai.stages.lease.run_stage`."""
    return run_stage(Stage.EXPLAIN, study_id, ports, work)


def work(claim: Claim, ports: StagePorts) -> Closed | None:
    """Write heat map, overlay and crop for every assessed image, then ``explanation.json``."""
    study = claim.study
    classification = read_classification(ports.store, study)
    detection = read_json(ports.store, keys.detection_json(study.site, study.study_id))
    by_number = {image.number: image for image in classification.images}
    detected = [DetectedImage.from_json(entry) for entry in detection["images"]]
    explained = [
        {"number": image.number, "roi_px": _explain(claim, by_number[image.number], ports)}
        for image in detected
        if image.probability is not None
    ]
    write_json(ports.store, keys.explanation_json(study.site, study.study_id), {"images": explained})
    return None


def _explain(claim: Claim, image: ClassifiedImage, ports: StagePorts) -> Box | None:
    """Write the pictures of one image; returns its region of interest on the source grid."""
    site, study_id, number = claim.study.site, claim.study.study_id, image.number
    pixels = ports.codec.decode_grey(read_bytes(ports.store, keys.image_png(site, study_id, number)))
    steps = ports.codec.decode_grey(read_bytes(ports.store, keys.attention_map(site, study_id, number)))
    attention = np.divide(steps, 255, dtype=np.float32)
    height, width = pixels.shape
    over_image = relative_attention(crop_map(attention, height, width))
    roi = roi_from_attention(attention, height, width)
    ports.store.put(keys.heat_png(site, study_id, number), ports.codec.heat(over_image))
    ports.store.put(keys.overlay_jpg(site, study_id, number), ports.codec.overlay(pixels, over_image, roi))
    if roi is None:
        return None
    x0, y0, x1, y1 = roi
    crop = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    ports.store.put(keys.roi_png(site, study_id, number), ports.codec.encode_grey(crop))
    return rescale_box(roi, (height, width), (image.source_height_px, image.source_width_px))
