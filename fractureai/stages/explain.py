"""explain: where fractures may be, as findings on the source image, and the attention behind the score.

Findings are shown where a fracture is likely or suspected, never on an image without; attention is there for every
assessed image, for those who ask for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fractureai.domain import keys
from fractureai.domain.assessment import assess_probability
from fractureai.domain.records import Claim
from fractureai.domain.result import FractureFinding
from fractureai.domain.roi import clipped_box, relative_attention, rescale_box, roi_from_attention, widened
from fractureai.domain.study import Assessment, Stage
from fractureai.stages.artifacts import (
    Box,
    ClassifiedImage,
    DetectedImage,
    ExplainedImage,
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
    """Write the pictures of every assessed image, then ``explanation.json``."""
    study = claim.study
    classification = read_classification(ports.store, study)
    detection = read_json(ports.store, keys.detection_json(study.site, study.study_id))
    by_number = {image.number: image for image in classification.images}
    detected = [DetectedImage.from_json(entry) for entry in detection["images"]]
    explained = [_explain(claim, by_number[image.number], image, ports) for image in detected if image.thresholds]
    artifact = {"images": [image.to_json() for image in explained]}
    write_json(ports.store, keys.explanation_json(study.site, study.study_id), artifact)
    return None


def _explain(claim: Claim, image: ClassifiedImage, detected: DetectedImage, ports: StagePorts) -> ExplainedImage:
    """Write the pictures of one image: its heat map; where it is flagged, the overlay and the region of interest."""
    site, study_id, number = claim.study.site, claim.study.study_id, image.number
    attention = detected.attention
    if attention is None or detected.probability is None or detected.thresholds is None:
        return ExplainedImage(number)
    cells = np.divide(attention.steps, 255, dtype=np.float32)
    over_image = relative_attention(attention.placement.over_image(cells))
    ports.store.put(keys.heat_png(site, study_id, number), ports.codec.heat(over_image))
    if assess_probability(detected.probability, detected.thresholds).assessment is Assessment.NO_FRACTURE:
        return ExplainedImage(number, heat=True)
    pixels = ports.codec.decode_grey(read_bytes(ports.store, keys.image_png(site, study_id, number)))
    ports.store.put(keys.overlay_jpg(site, study_id, number), ports.codec.overlay(pixels, over_image))
    grid, source = pixels.shape, (image.source_height_px, image.source_width_px)
    boxes = [(clipped_box(box.box_px, *pixels.shape), box.probability) for box in detected.boxes]
    findings = [
        FractureFinding(rescale_box(box, grid, source), probability, rank)
        for rank, (box, probability) in enumerate(boxes, start=1)
    ]
    roi = boxes[0][0] if boxes else roi_from_attention(cells, attention.placement)
    if roi is not None:
        _cut_out(claim, number, pixels, roi, ports)
    return ExplainedImage(number, tuple(findings), roi and rescale_box(roi, grid, source), heat=True, overlay=True)


def _cut_out(claim: Claim, number: int, pixels: npt.NDArray[np.uint8], roi: Box, ports: StagePorts) -> None:
    """Write the region of interest with its surroundings: a fracture alone tells nothing of the bone."""
    x0, y0, x1, y1 = widened(roi, *pixels.shape)
    crop = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    ports.store.put(keys.roi_png(claim.study.site, claim.study.study_id, number), ports.codec.encode_grey(crop))
