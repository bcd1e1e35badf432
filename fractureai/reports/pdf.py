"""The report as PDF: pages of blocks, with a band above and the study's id and the page's number below.

Text is only ever drawn as glyphs, never parsed: no name in a header can be markup. The same input gives the same
bytes; the document's date is the study's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from fractureai.domain.ports import ReportImage
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Study
from fractureai.reports.blocks import Block, Gap
from fractureai.reports.content import ReportText, compose
from fractureai.reports.layout import CONTENT_WIDTH_PT, report_blocks
from fractureai.reports.painter import BAND, MUTED, RULE, TINY, WHITE, Painter
from fractureai.reports.typeset import Style, set_line, set_lines
from fractureai.reports.wording import NOT_FOR_DIAGNOSIS, PRODUCT, SUBJECT, TITLE

rl_config.useA85 = 0  # binary streams: smaller, and no text encoding in Python

_WIDTH_PT, _HEIGHT_PT = A4
_MARGIN_PT = (_WIDTH_PT - CONTENT_WIDTH_PT) / 2
_BAND_PT = 32.0
_TOP_PT = _HEIGHT_PT - _BAND_PT - 16
_BOTTOM_PT = 52.0
_IDENTITY_PT = 220.0
_BAND_NAME = Style(12, 16, WHITE, bold=True)
_BAND_NOTE = Style(8.5, 12, WHITE, bold=True)


class PdfReportWriter:
    """Implements :class:`fractureai.domain.ports.ReportWriter` with reportlab."""

    def write(self, study: Study, result: StudyResult, images: Sequence[ReportImage]) -> bytes:
        """See :meth:`fractureai.domain.ports.ReportWriter.write`.

        Raises
        ------
        ValueError
            If ``images`` are not those of ``result``, in its order.
        """
        if [image.result.number for image in images] != [image.number for image in result.images]:
            raise ValueError("the report needs one entry for each image of the result, in its order")
        text = compose(study, result, [image.header for image in images])
        pages = list(_pages(report_blocks(text, images)))
        stream = BytesIO()
        canvas = _Canvas(stream, pagesize=A4, pageCompression=1, invariant=1, lang="en", pdfVersion=(1, 5))
        _describe(canvas, text)
        painter = Painter(canvas)
        for number, blocks in enumerate(pages, start=1):
            _furniture(painter, text, number, len(pages))
            top = _TOP_PT
            for block in blocks:
                block.draw(painter, _MARGIN_PT, top)
                top -= block.height_pt
            canvas.showPage()
        painter.fonts.finish()
        canvas.save()
        return stream.getvalue()


class _Canvas(Canvas):
    """Without the first font that reportlab names on every page: all fonts of a report are embedded."""

    def _make_preamble(self) -> None:
        self._preamble = "1 0 0 1 0 0 cm"


def _describe(canvas: Canvas, text: ReportText) -> None:
    """Metadata: nothing of the patient."""
    canvas.setTitle(f"{TITLE}, study {text.study_id}")
    canvas.setAuthor(PRODUCT)
    canvas.setSubject(SUBJECT)
    canvas.setCreator(text.software)
    canvas.setProducer("ReportLab")
    canvas.setKeywords("")
    canvas.setDateFormatter(lambda *_: f"D:{text.created:%Y%m%d%H%M%S}Z")
    canvas.setViewerPreference("DisplayDocTitle", "true")


def _pages(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Fill pages; what must stay together moves to the next page together."""
    page: list[Block] = []
    room = _TOP_PT - _BOTTOM_PT
    left = room
    for group in _groups(blocks):
        height = sum(block.height_pt for block in group)
        if height > left and page:
            yield page
            page, left = [], room
        if not page and isinstance(group[0], Gap):
            continue
        page += group
        left -= height
    if page:
        yield page


def _groups(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    group: list[Block] = []
    for block in blocks:
        group.append(block)
        if not block.keep_with_next:
            yield group
            group = []
    if group:
        yield group


def _furniture(painter: Painter, text: ReportText, number: int, total: int) -> None:
    """What stands on every page."""
    painter.box(0, _HEIGHT_PT - _BAND_PT, _WIDTH_PT, _BAND_PT, BAND)
    baseline = _HEIGHT_PT - _BAND_PT / 2 - 4
    painter.text(set_line(PRODUCT, _BAND_NAME), _BAND_NAME, _MARGIN_PT, baseline)
    right = _WIDTH_PT - _MARGIN_PT
    painter.text(set_line(NOT_FOR_DIAGNOSIS.upper(), _BAND_NOTE), _BAND_NOTE, right, baseline + 1, "right")
    painter.stroke((_MARGIN_PT, 42), (right, 42), RULE, 0.6)
    style = TINY.coloured(MUTED)
    painter.text(set_line(text.disclaimer, style), style, _MARGIN_PT, 31)
    for line in set_lines(text.identity, style, _IDENTITY_PT, 1):
        painter.text(line, style, right, 31, "right")
    painter.text(set_line(f"Study {text.study_id}", style), style, _MARGIN_PT, 20)
    painter.text(set_line(f"Page {number} of {total}", style), style, right, 20, "right")
