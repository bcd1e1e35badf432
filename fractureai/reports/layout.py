"""The order of things in a report: from its words and pictures to the blocks that make its pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fractureai.domain.ports import ReportImage
from fractureai.domain.result import ImageResult
from fractureai.domain.study import Assessment
from fractureai.reports import wording
from fractureai.reports.blocks import (
    Block,
    Columns,
    Gap,
    Text,
    bullet,
    field_rows,
    heading,
    paragraph,
    table,
)
from fractureai.reports.content import ReportText, ViewText
from fractureai.reports.figures import ALERT_INDENT_PT, Alert, Badge, Plate, PlateRow, ScaleBar
from fractureai.reports.glyphs import is_complete
from fractureai.reports.painter import BADGE, BODY, LABEL, SMALL, STRONG, TINY, TITLE
from fractureai.reports.pictures import read_picture
from fractureai.reports.typeset import clean, set_line, set_lines

CONTENT_WIDTH_PT = 511.0
_HALF_PT = 246.0
_PLATES_PT = (196.0, 196.0, 103.0)
_GUTTER_PT = 8.0
_PLATE_HEIGHT_PT = {True: 212.0, False: 168.0}  # of the only view; of several, so that two stand on a page
_IMAGE_PX, _ROI_PX = 1024, 420
_MAX_DETAIL_LINES = 3


def report_blocks(text: ReportText, images: Sequence[ReportImage]) -> Iterator[Block]:
    """Everything from the title to the limitations, from top to bottom."""
    yield paragraph(wording.TITLE, TITLE, CONTENT_WIDTH_PT, keep_with_next=True)
    yield Gap(8, keep_with_next=True)
    for warning in (*text.warnings, *_of_fonts(text)):
        yield Alert(set_lines(warning, STRONG, CONTENT_WIDTH_PT - ALERT_INDENT_PT - 8), CONTENT_WIDTH_PT)
        yield Gap(8)
    yield _badge(text)
    yield Gap(12)
    yield from _data(text)
    yield from _advice(text)
    if len(text.views) > 1:
        yield from _overview(text)
    for view, image in zip(text.views, images, strict=True):
        yield from _view(view, image, single=len(text.views) == 1)
    yield from _method(text)


def _of_fonts(text: ReportText) -> tuple[str, ...]:
    """What must be said of characters that are drawn as boxes."""
    shown = [text.identity, *(field.value for field in (*text.patient, *text.study))]
    return () if all(is_complete(clean(value)) for value in shown) else (wording.MISSING_CHARACTERS,)


def _badge(text: ReportText) -> Badge:
    width = Badge.text_width(CONTENT_WIDTH_PT)
    figures: list[Block] = [Gap(4)]
    if text.scale is not None:
        figures.append(ScaleBar(text.scale, text.assessment, width))
        figures.append(Gap(4))
    figures += field_rows(text.summary, width, 120, STRONG)
    meaning = set_lines(text.meaning, BODY, width)
    return Badge(text.assessment, set_line(text.headline, BADGE), meaning, tuple(figures), CONTENT_WIDTH_PT)


def _data(text: ReportText) -> Iterator[Block]:
    yield heading("Patient and study", CONTENT_WIDTH_PT, key="data")
    patient = field_rows(text.patient, _HALF_PT, 86, BODY)
    study = field_rows(text.study, _HALF_PT, 86, BODY)
    yield Columns(((0.0, patient), (CONTENT_WIDTH_PT - _HALF_PT, study)))
    yield Gap(10)


def _advice(text: ReportText) -> Iterator[Block]:
    yield heading("What this means", CONTENT_WIDTH_PT, key="meaning")
    yield paragraph(text.recommendation, BODY, CONTENT_WIDTH_PT)
    for reason in text.reasons:
        yield bullet(reason, BODY, CONTENT_WIDTH_PT)
    yield Gap(10)


def _overview(text: ReportText) -> Iterator[Block]:
    yield heading("Findings", CONTENT_WIDTH_PT, key="findings")
    rows = [
        (str(view.number), view.file, view.region or "–", view.probability or "–", view.headline) for view in text.views
    ]
    head = ("View", "File", "Region", "Fracture probability", "Assessment")
    yield from table(head, rows, (32, 190, 113, 72, 104))
    yield Gap(12)


def _view(view: ViewText, image: ReportImage, *, single: bool) -> Iterator[Block]:
    yield heading(
        f"{view.title}: {view.headline}", CONTENT_WIDTH_PT, key=f"view-{view.number}", level=1, sign=view.assessment
    )
    for line in (view.file, view.details):
        yield Text(set_lines(line, LABEL, CONTENT_WIDTH_PT, _MAX_DETAIL_LINES), LABEL, keep_with_next=True)
    yield Gap(4, keep_with_next=True)
    if image.image_png or image.overlay_jpg:
        yield _plates(view, image, _PLATE_HEIGHT_PT[single])
    if view.scale is not None:
        yield ScaleBar(view.scale, view.assessment, CONTENT_WIDTH_PT, keep_with_next=True)
        yield Gap(6, keep_with_next=True)
    if view.region:
        yield paragraph(f"Region: {view.region}.", BODY, CONTENT_WIDTH_PT, keep_with_next=True)
    for sentence in view.sentences:
        yield paragraph(sentence, BODY, CONTENT_WIDTH_PT)
    yield Gap(12)


def _plates(view: ViewText, image: ReportImage, height_pt: float) -> PlateRow:
    original = _plate(image.image_png, _IMAGE_PX, view.marked, _PLATES_PT[0])
    boxes = tuple(_fractions(box, image.result) for box in image.result.boxes_px)
    plates = [replace(original, boxes=boxes, is_dashed=view.assessment is not Assessment.FRACTURE)]
    if image.overlay_jpg:
        attention = "Attention (Grad-CAM): where the score comes from"
        plates.append(_plate(image.overlay_jpg, _IMAGE_PX, attention, _PLATES_PT[1]))
    if image.roi_png:
        plates.append(_plate(image.roi_png, _ROI_PX, view.enlarged, _PLATES_PT[2]))
    return PlateRow(tuple(plates), _PLATES_PT[: len(plates)], _GUTTER_PT, height_pt, keep_with_next=True)


def _fractions(box_px: tuple[int, int, int, int], image: ImageResult) -> tuple[float, float, float, float]:
    width, height = image.source_width_px or 1, image.source_height_px or 1
    return box_px[0] / width, box_px[1] / height, box_px[2] / width, box_px[3] / height


def _plate(data: bytes | None, max_px: int, caption: str, width_pt: float) -> Plate:
    return Plate(read_picture(data, max_px), set_lines(caption, TINY, width_pt, 2), set_line("no picture", SMALL))


def _method(text: ReportText) -> Iterator[Block]:
    yield heading("Method and models", CONTENT_WIDTH_PT, key="method")
    yield paragraph(wording.METHOD, BODY, CONTENT_WIDTH_PT)
    yield Gap(6)
    if text.models:
        rows = [(model.name, model.version, model.card, model.purpose, model.thresholds) for model in text.models]
        yield from table(
            ("Model", "Version", "Card (SHA-256)", "Used for", "Thresholds"), rows, (112, 62, 84, 113, 140)
        )
    else:
        yield paragraph("No model read this study.", BODY, CONTENT_WIDTH_PT)
    yield Gap(4)
    yield paragraph(text.software, SMALL, CONTENT_WIDTH_PT)
    yield Gap(10)
    yield heading("Limits", CONTENT_WIDTH_PT, key="limits")
    for limitation in text.limitations:
        yield bullet(limitation, BODY, CONTENT_WIDTH_PT)
