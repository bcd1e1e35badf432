"""The pictures of Secondary Captures: a view under a band that says what it is, and the study's result as a page.

Neither shows who the patient is: viewers do, from the header, and de-identification need not look at the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fractureai.domain.ports import ReportImage
from fractureai.domain.study import Assessment
from fractureai.reports.content import ReportText, ViewText
from fractureai.reports.painter import BAND, INK, MUTED, TONES, WHITE, Colour
from fractureai.reports.wording import NO_RESULTS_FILED, NOT_FOR_DIAGNOSIS, PRODUCT, TITLE

_FONTS = Path(__file__).parent.parent / "fonts"
_QUALITY = 88
_HALF_CHROMA_WIDTH = 1  # 4:2:2, which is what YBR_FULL_422 says
_MIN_WIDTH_PX = 640
_PAGE_WIDTH_PX, _MARGIN_PX = 900, 40
_THUMBNAIL_PX = 260
_MOST_VIEWS = 12
_MOST_THUMBNAILS = 3
_MOST_REASONS = 5
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """A JPEG (baseline, YCbCr 4:2:2)."""

    width_px: int
    height_px: int
    jpeg: bytes = field(repr=False)


def overlay_capture(image: ReportImage, view: ViewText) -> Capture | None:
    """The view with its boxes below a band with its words; ``None`` if nothing is likely or suspected on it."""
    picture = _marked(image)
    if picture is None or view.assessment not in {Assessment.FRACTURE, Assessment.SUSPECTED}:
        return None
    width = max(picture.width + picture.width % 2, _MIN_WIDTH_PX)
    size = max(14, width // 50)
    band = 2 * round(1.9 * size)
    canvas = Image.new("RGB", (width, picture.height + band), _BLACK)
    canvas.paste(picture, ((width - picture.width) // 2, band))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, width, band - 1), fill=_rgb(BAND))
    words = " · ".join(part for part in (view.title, view.headline, view.probability) if part)
    note = f"{PRODUCT} · {NOT_FOR_DIAGNOSIS.upper()} · boxes are where the model places it, not outlines"
    _write(pen, (size // 2, size // 4), words, size, WHITE, bold=True, room=width - size)
    _write(pen, (size // 2, size // 4 + round(1.6 * size)), note, size, WHITE, room=width - size)
    return _encoded(canvas)


def summary_capture(text: ReportText, images: Sequence[ReportImage]) -> Capture:
    """The study's result as a page."""
    rows = text.views[:_MOST_VIEWS]
    thumbnails = [small for image in images[:_MOST_THUMBNAILS] if (small := _marked(image, _THUMBNAIL_PX))]
    height = 560 + 30 * len(rows) + (_THUMBNAIL_PX + 20 if thumbnails else 0) + 52 * min(len(text.reasons), 5)
    canvas = Image.new("RGB", (_PAGE_WIDTH_PX, height), (255, 255, 255))
    page = _Page(canvas)
    page.head(text)
    page.verdict(text)
    page.pictures(thumbnails)
    page.views(rows, len(text.views))
    page.reasons(text.reasons)
    page.advice(text)
    page.foot(text)
    return _encoded(canvas.crop((0, 0, _PAGE_WIDTH_PX, min(height, page.top + page.top % 2))))


def notice_capture(text: ReportText) -> Capture:
    """A page that says why there are no results, and shows none."""
    canvas = Image.new("RGB", (_PAGE_WIDTH_PX, 480), (255, 255, 255))
    page = _Page(canvas)
    page.head(text)
    page.notice(text.warnings)
    page.foot(text)
    return _encoded(canvas.crop((0, 0, _PAGE_WIDTH_PX, page.top + page.top % 2)))


class _Page:
    """A page written from top to bottom."""

    def __init__(self, canvas: Image.Image) -> None:
        self.canvas, self.pen, self.top = canvas, ImageDraw.Draw(canvas), 0
        self.room = _PAGE_WIDTH_PX - 2 * _MARGIN_PX

    def head(self, text: ReportText) -> None:
        self.pen.rectangle((0, 0, _PAGE_WIDTH_PX, 55), fill=_rgb(BAND))
        _write(self.pen, (_MARGIN_PX, 14), PRODUCT, 22, WHITE, bold=True)
        note = NOT_FOR_DIAGNOSIS.upper()
        right = _PAGE_WIDTH_PX - _MARGIN_PX - round(_width(note, 18, bold=True))
        _write(self.pen, (right, 17), note, 18, WHITE, bold=True)
        self.top = 72
        self._lines([f"{TITLE}, summary · images received {text.created:%Y-%m-%d %H:%M} UTC"], 15, MUTED)
        self.top += 8

    def verdict(self, text: ReportText) -> None:
        dark, tint = TONES[text.assessment]
        meaning = _wrapped(text.meaning, 16, self.room - 50)
        facts = [f"{item.label}: {item.value}" for item in text.summary]
        box = (_MARGIN_PX, self.top, _PAGE_WIDTH_PX - _MARGIN_PX, self.top + 86 + 23 * len(meaning))
        self.pen.rectangle(box, fill=_rgb(tint))
        self.pen.rectangle((*box[:2], box[0] + 7, box[3]), fill=_rgb(dark))
        left = _MARGIN_PX + 25
        _write(self.pen, (left, self.top + 10), text.headline, 26, dark, bold=True, room=self.room - 50)
        for place, line in enumerate(meaning):
            _write(self.pen, (left, self.top + 48 + 23 * place), line, 16, INK)
        _write(self.pen, (left, box[3] - 30), " · ".join(facts), 15, INK, bold=True, room=self.room - 50)
        self.top = box[3] + 16

    def notice(self, sentences: Sequence[str]) -> None:
        dark, tint = TONES[Assessment.FRACTURE]
        lines = [line for sentence in (*sentences, NO_RESULTS_FILED) for line in _wrapped(sentence, 20, self.room - 50)]
        box = (_MARGIN_PX, self.top, _PAGE_WIDTH_PX - _MARGIN_PX, self.top + 30 + 28 * len(lines))
        self.pen.rectangle(box, fill=_rgb(tint), outline=_rgb(dark), width=3)
        for place, line in enumerate(lines):
            _write(self.pen, (_MARGIN_PX + 25, self.top + 14 + 28 * place), line, 20, dark, bold=True)
        self.top = box[3] + 16

    def pictures(self, thumbnails: Sequence[Image.Image]) -> None:
        left = _MARGIN_PX
        for picture in thumbnails:
            self.canvas.paste(picture, (left, self.top))
            left += _THUMBNAIL_PX + 20
        if thumbnails:
            self.top += max(picture.height for picture in thumbnails) + 16

    def views(self, rows: Sequence[ViewText], total: int) -> None:
        for row in rows:
            columns = (row.title, row.headline, row.probability, row.region)
            for left, width, words in zip((0, 130, 420, 530), (125, 285, 105, 290), columns, strict=True):
                _write(self.pen, (_MARGIN_PX + left, self.top), words, 16, INK, bold=left == 0, room=width)
            self.top += 26
        if total > len(rows):
            self._lines([f"and {total - len(rows)} more views, see the report"], 15, MUTED)
        self.top += 8

    def reasons(self, sentences: Sequence[str]) -> None:
        for sentence in sentences[:_MOST_REASONS]:
            self._lines(_wrapped(f"• {sentence}", 15, self.room)[:2], 15, INK)
        if len(sentences) > _MOST_REASONS:
            self._lines([f"and {len(sentences) - _MOST_REASONS} more reasons, see the report"], 15, MUTED)
        self.top += 8

    def advice(self, text: ReportText) -> None:
        self._lines(_wrapped(text.recommendation, 16, self.room)[:4], 16, INK)

    def foot(self, text: ReportText) -> None:
        models = ", ".join(f"{model.name} {model.version} (card {model.card})" for model in text.models)
        self._lines(_wrapped(f"{text.software} · models: {models}", 14, self.room)[:3], 14, MUTED)
        self._lines([text.disclaimer], 14, MUTED)
        self.top += 14

    def _lines(self, lines: Iterable[str], size: int, colour: Colour) -> None:
        for line in lines:
            _write(self.pen, (_MARGIN_PX, self.top), line, size, colour, room=self.room)
            self.top += round(1.45 * size)


def _marked(image: ReportImage, max_px: int = 0) -> Image.Image | None:
    """The picture with its boxes, solid if a fracture is likely and dashed if it is suspected; ``None`` without one."""
    picture, result = _open(image.image_png, max_px), image.result
    if picture is None or not (result.source_width_px and result.source_height_px):
        return picture
    pen, stroke = ImageDraw.Draw(picture), max(1, min(picture.size) // 300)
    gain_x, gain_y = picture.width / result.source_width_px, picture.height / result.source_height_px
    dash = 0 if result.finding.assessment is Assessment.FRACTURE else 6 * stroke
    for x0, y0, x1, y1 in result.boxes_px:
        corners = (round(x0 * gain_x), round(y0 * gain_y), round(x1 * gain_x) - 1, round(y1 * gain_y) - 1)
        _box(pen, corners, _BLACK, 3 * stroke, 0)
        _box(pen, corners, _WHITE, stroke, dash)
    return picture


def _box(
    pen: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], colour: tuple[int, int, int], width: int, dash: int
) -> None:
    """A frame; ``dash`` px of line and as many of gap, 0 for a solid one."""
    x0, y0, x1, y1 = corners
    if not dash:
        pen.rectangle(corners, outline=colour, width=width)
        return
    for x in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            pen.line((x, y, min(x1, x + dash), y), fill=colour, width=width)
    for y in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            pen.line((x, y, x, min(y1, y + dash)), fill=colour, width=width)


def _open(data: bytes | None, max_px: int = 0) -> Image.Image | None:
    if not data:
        return None
    with Image.open(BytesIO(data)) as image:
        if max_px:
            image.draft("RGB", (max_px, max_px))
        picture = image.convert("RGB")
    if max_px:
        picture.thumbnail((max_px, max_px), Image.Resampling.BILINEAR)
    return picture


def _encoded(canvas: Image.Image) -> Capture:
    stream = BytesIO()
    canvas.save(stream, "JPEG", quality=_QUALITY, subsampling=_HALF_CHROMA_WIDTH)
    return Capture(canvas.width, canvas.height, stream.getvalue())


@cache
def _font(size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    name = "NotoSans-Bold.ttf" if bold else "NotoSans-Regular.ttf"
    return ImageFont.truetype(_FONTS / name, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=160)
def _line(words: str, size: int, *, bold: bool) -> tuple[Image.Image | None, int]:
    """A line of text as a mask, and how far below its top the mask begins.

    Most lines of a page are the same in every study; to set one anew takes FreeType as long as to encode a picture.
    """
    core, (_, top) = _font(size, bold=bold).getmask2(words, mode="L")
    width, height = core.size
    return (Image.frombytes("L", core.size, bytes(core)) if width and height else None), top


@lru_cache(maxsize=1024)
def _advance(character: str, size: int, *, bold: bool) -> float:
    return _font(size, bold=bold).getlength(character)


def _width(words: str, size: int, *, bold: bool = False) -> float:
    return sum(_advance(character, size, bold=bold) for character in words)


@lru_cache(maxsize=160)
def _fitted(words: str, size: int, room: int, *, bold: bool) -> str:
    if _width(words, size, bold=bold) <= room:
        return words
    room -= math.ceil(_advance("…", size, bold=bold))
    while words and _width(words, size, bold=bold) > room:
        words = words[:-1]
    return f"{words.rstrip()}…"


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    words: str,
    size: int,
    colour: Colour,
    *,
    bold: bool = False,
    room: int = 0,
) -> None:
    """One line, cut where it does not fit."""
    if room:
        words = _fitted(words, size, room, bold=bold)
    mask, top = _line(words, size, bold=bold)
    if mask is not None:
        pen.bitmap((at[0], at[1] + top), mask, fill=_rgb(colour))


@lru_cache(maxsize=160)
def _wrapped(words: str, size: int, room: int) -> tuple[str, ...]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if _width(longer, size) > room and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return tuple(lines)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(part * 255) for part in colour)
    return (red, green, blue)
