from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fractureai.domain.assessment import Finding, assess_study
from fractureai.domain.ports import ReportImage
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import Reason
from fractureai.domain.result import FractureFinding, ImageResult, StudyResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, SourceImage, Study, WorkState
from fractureai.reports.pdf import PdfReportWriter
from fractureai.stages.identity import notes_of

STUDY_ID = "0123456789abcdef" * 2
REGION_MODEL = ModelIdentity("region-classifier", "0.3.1", "3f" * 32)
ELBOW_MODEL = ModelIdentity("fracture-elbow", "0.2.0", "ab" * 32)


def grey_picture(height_px: int = 512, width_px: int = 400) -> np.ndarray:
    y, x = np.mgrid[0:height_px, 0:width_px]
    bone = 140 * np.exp(-(((x - width_px * 0.5 - 12 * np.sin(y / 90)) / (width_px * 0.12)) ** 2))
    return (40 + bone).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


_GREY = grey_picture()
_PNG = encoded(_GREY, "PNG")
_OVERLAY = encoded(np.stack([_GREY, _GREY // 2, _GREY // 3], axis=-1), "JPEG")
_ROI = encoded(_GREY[150:300, 120:280], "PNG")

HEADER = Header(
    "application/dicom",
    patient_name="Doe^Jane^Q",
    patient_id="PID-0042",
    patient_birth_date="19700131",
    patient_sex="F",
    accession_number="ACC-7",
    study_date="20261120",
    study_description="ELBOW 2 VIEWS",
    institution_name="Klinikum Süd",
    referring_physician_name="Smith^Adam^^Dr",
    body_part_examined="ELBOW",
    view_position="AP",
    laterality="L",
)


def assessed(number: int = 1, probability: float = 0.832, *, pictures: bool = True, **header: str) -> ReportImage:
    assessment, reasons = Assessment.NO_FRACTURE, ()
    if probability >= 0.705:
        assessment = Assessment.FRACTURE
    elif probability >= 0.31:
        assessment, reasons = Assessment.SUSPECTED, (Reason("near_threshold"),)
    flagged = assessment is not Assessment.NO_FRACTURE
    result = ImageResult(
        number,
        f"elbow_{number}.dcm",
        Finding(assessment, reasons),
        in_scope=True,
        region="elbow",
        region_probability=0.987,
        fracture_probability=probability,
        fracture_spread=0.021,
        thresholds=(0.31, 0.705),
        roi_px=(480, 600, 1120, 1200) if flagged else None,
        findings=(FractureFinding((480, 600, 1120, 1200), 0.61, 1),) if flagged else (),
        source_height_px=2048,
        source_width_px=1600,
        model=ELBOW_MODEL,
        artifacts=("image", "heat", *(("overlay", "roi") if flagged else ())),
    )
    kept = (_PNG, *((_OVERLAY, _ROI) if flagged else (None, None))) if pictures else (None, None, None)
    return ReportImage(result, replace(HEADER, **header), *kept)


def unread(number: int = 1, file: str = "broken.png", code: str = "damaged") -> ReportImage:
    finding = Finding(Assessment.INCONCLUSIVE, (Reason(code),))
    return ReportImage(ImageResult(number, file, finding), None, None, None, None)


def out_of_scope(number: int = 1) -> ReportImage:
    finding = Finding(Assessment.INCONCLUSIVE, (Reason("out_of_scope"),))
    result = ImageResult(number, "chest.png", finding, region="hand", region_probability=0.41, artifacts=("image",))
    return ReportImage(result, Header("image/png"), _PNG, None, None)


def study_of(images: Sequence[ReportImage], label: str = "") -> Study:
    sources = tuple(SourceImage(image.result.number, image.result.file, 100, "0" * 64) for image in images)
    return Study("main", STUDY_ID, "f" * 32, label, 1_795_442_700.0, sources)


def result_of(images: Sequence[ReportImage], state: WorkState = WorkState.DONE) -> StudyResult:
    models = {image.result.model.name: image.result.model for image in images if image.result.model}
    known = (REGION_MODEL, *models.values())
    notes = notes_of([image.header for image in images if image.header])
    finding = assess_study([image.result.finding for image in images if not image.result.set_aside], notes)
    return StudyResult(STUDY_ID, "", state, finding, tuple(image.result for image in images), known, "0.1.0")


Write = Callable[..., bytes]


@pytest.fixture(scope="session")
def write() -> Write:
    def run(*images: ReportImage, label: str = "", state: WorkState = WorkState.DONE) -> bytes:
        return PdfReportWriter().write(study_of(images, label), result_of(images, state), images)

    return run


@pytest.fixture
def kit() -> object:
    """The builders above, for tests that pytest imports without a package around them."""

    class Kit:
        STUDY_ID = STUDY_ID
        HEADER = HEADER
        assessed = staticmethod(assessed)
        unread = staticmethod(unread)
        out_of_scope = staticmethod(out_of_scope)
        study_of = staticmethod(study_of)
        result_of = staticmethod(result_of)
        grey_picture = staticmethod(grey_picture)
        encoded = staticmethod(encoded)

    return Kit
