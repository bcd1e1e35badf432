"""Results of studies whose sources are real DICOM files, and the programs that judge them."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from fractureai.domain.assessment import Finding, assess_study
from fractureai.domain.dicom_objects import DicomObject
from fractureai.domain.ports import ReportImage
from fractureai.domain.reasons import Reason
from fractureai.domain.result import FractureFinding, ImageResult, StudyResult, ViewTags
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, SourceImage, Study, WorkState
from fractureai.imaging.codec import CvCodec
from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits
from fractureai.reports.dicom.writer import StudyDicomWriter
from fractureai.reports.pdf import PdfReportWriter
from fractureai.stages.identity import notes_of
from tests.bad_files import phantom_dicom
from tests.pictures import bone

REGION_MODEL = ModelIdentity("region", "0.3.1", "3f" * 32)
HAND_MODEL = ModelIdentity("fracture-hand", "0.2.0", "ab" * 32)
PROBABILITIES = {Assessment.FRACTURE: 0.83, Assessment.SUSPECTED: 0.4, Assessment.NO_FRACTURE: 0.05}
CODEC = CvCodec()


@dataclass(frozen=True)
class Written:
    """What was written of a study, by name."""

    objects: dict[str, tuple[DicomObject, bytes]]
    pdf: bytes
    result: StudyResult

    def dataset(self, name: str) -> Dataset:
        return pydicom.dcmread(io.BytesIO(self.objects[name][1]))


def source(data: bytes | None, number: int, assessment: Assessment = Assessment.FRACTURE) -> ReportImage:
    """A view read from a DICOM file, or from a picture where there is none."""
    radiograph = read_dicom(data, DecodeLimits()) if data else None
    pixels = radiograph.pixels if radiograph else bone(200, 160)
    height, width = pixels.shape
    full = (radiograph.source_height_px, radiograph.source_width_px) if radiograph else (height, width)
    attention = np.zeros((height, width), np.float32)
    attention[height // 4 : height // 2, width // 4 : width // 2] = 1
    box = (full[1] // 4, full[0] // 4, full[1] // 2, full[0] // 2)
    second = (full[1] // 2, full[0] // 2, 3 * full[1] // 4, 3 * full[0] // 4)
    findings = {
        Assessment.FRACTURE: (FractureFinding(box, 0.79, 1), FractureFinding(second, 0.31, 2)),
        Assessment.SUSPECTED: (FractureFinding(box, 0.37, 1),),
    }.get(assessment, ())
    assessed = assessment is not Assessment.INCONCLUSIVE
    reasons = {Assessment.SUSPECTED: (Reason("near_threshold"),), Assessment.INCONCLUSIVE: (Reason("out_of_scope"),)}
    result = ImageResult(
        number,
        f"view-{number}",
        Finding(assessment, reasons.get(assessment, ())),
        in_scope=assessed,
        region="hand",
        region_probability=0.98,
        fracture_probability=PROBABILITIES.get(assessment),
        fracture_spread=0.02 if assessed else None,
        thresholds=(0.2, 0.6) if assessed else None,
        roi_px=box if findings else None,
        findings=findings,
        source_height_px=full[0],
        source_width_px=full[1],
        model=HAND_MODEL if assessed else None,
        artifacts=("image", "heat", "overlay", "roi") if findings else ("image",),
        view=ViewTags(body_part=radiograph.header.body_part_examined) if radiograph else None,
    )
    return ReportImage(
        result,
        radiograph.header if radiograph else None,
        CODEC.encode_grey(pixels),
        CODEC.overlay(pixels, attention) if findings else None,
        CODEC.encode_grey(pixels[:40, :40]) if findings else None,
        radiograph.dicom_context if radiograph else b"",
    )


def write(
    *images: ReportImage, models: tuple[ModelIdentity, ...] = (REGION_MODEL, HAND_MODEL), version: str = "0.1.0"
) -> Written | Reason:
    sources = tuple(SourceImage(i.result.number, i.result.file, 1, f"{i.result.number:064d}") for i in images)
    study = Study("main", "0" * 32, "1" * 32, "a label", 1_795_442_700.0, sources)
    notes = notes_of([image.header for image in images if image.header])
    finding = assess_study([image.result.finding for image in images if not image.result.set_aside], notes)
    results = tuple(image.result for image in images)
    result = StudyResult("0" * 32, "a label", WorkState.DONE, finding, results, models, version)
    pdf = PdfReportWriter().write(study, result, images)
    written = StudyDicomWriter().write(study, result, images, pdf)
    return written if isinstance(written, Reason) else Written({w.name: (w, d) for w, d in written}, pdf, result)


@pytest.fixture(scope="session")
def kit() -> Any:
    class Kit:
        source = staticmethod(source)
        write = staticmethod(write)

        @staticmethod
        def edited(data: bytes | None = None, **attributes: Any) -> bytes:
            """A source with other attributes; ``None`` removes one."""
            dataset = pydicom.dcmread(io.BytesIO(data or phantom_dicom()))
            for keyword, value in attributes.items():
                if value is not None:
                    setattr(dataset, keyword, value)
                elif keyword in dataset:
                    delattr(dataset, keyword)
            stream = io.BytesIO()
            dataset.save_as(stream)
            return stream.getvalue()

    return Kit


@pytest.fixture(scope="session")
def one(kit: Any) -> Written:
    """A study of one view with a fracture."""
    return kit.write(kit.source(phantom_dicom(), 1))


@pytest.fixture(scope="session")
def many(kit: Any) -> Written:
    """Every assessment, and a view that is no DICOM file."""
    sop = "1.2.826.0.1.3680043.10.1.1.1.{}".format
    views = [
        kit.source(kit.edited(SOPInstanceUID=sop(place), InstanceNumber=place, ImageLaterality="R"), place, assessment)
        for place, assessment in enumerate(Assessment, start=1)
    ]
    return kit.write(*views, kit.source(None, 5, Assessment.SUSPECTED))


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Run a program; skip where it is not installed."""

    def call(*command: str | Path) -> str:
        if shutil.which(str(command[0])) is None:
            package = "dicom3tools" if command[0] == "dciodvfy" else "dcmtk"
            pytest.skip(f"{command[0]} is not installed (Debian: {package})")
        done = subprocess.run([str(part) for part in command], capture_output=True, timeout=60)
        text = (done.stdout + done.stderr).decode(errors="replace")
        # dciodvfy tells of warnings by its status, too; what counts there are the lines.
        assert command[0] == "dciodvfy" or done.returncode == 0, text
        return text

    return call
