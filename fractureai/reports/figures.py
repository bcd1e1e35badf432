"""The drawn parts of a report: the study's badge, the probability scale and a view's row of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fractureai.domain.study import Assessment
from fractureai.reports.blocks import Block
from fractureai.reports.content import Scale, percent
from fractureai.reports.glyphs import Line
from fractureai.reports.painter import (
    BADGE,
    BODY,
    INK,
    MUTED,
    PALE,
    RULE,
    SMALL,
    SMALL_STRONG,
    STRONG,
    TINY,
    TONES,
    WHITE,
    Painter,
)
from fractureai.reports.pictures import Picture
from fractureai.reports.typeset import set_line, width_pt

_BADGE_TEXT_PT = 58.0
_BADGE_PADDING_PT = 12.0
ALERT_INDENT_PT = 40.0
_BAR_PT = 11.0
_ROI_DASH_PT = (3, 2)
_CAPTION_PT = 24.0


@dataclass(frozen=True, slots=True)
class Badge:
    """The study's assessment: shape, colour and words; below them what the block of figures says."""

    assessment: Assessment
    headline: Line
    meaning: tuple[Line, ...]
    figures: tuple[Block, ...]
    width_pt: float
    keep_with_next: bool = False

    @property
    def height_pt(self) -> float:
        """See :class:`~fractureai.reports.blocks.Block`."""
        words = BADGE.leading_pt + len(self.meaning) * BODY.leading_pt
        return 2 * _BADGE_PADDING_PT + max(words, 40) + sum(block.height_pt for block in self.figures)

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`~fractureai.reports.blocks.Block`."""
        dark, tint = TONES[self.assessment]
        painter.box(x, top - self.height_pt, self.width_pt, self.height_pt, tint, radius=4)
        painter.box(x, top - self.height_pt, 4, self.height_pt, dark)
        painter.sign(self.assessment, x + 32, top - 33, 32)
        y = painter.lines([self.headline], BADGE.coloured(dark), x + _BADGE_TEXT_PT, top - _BADGE_PADDING_PT)
        y = painter.lines(self.meaning, BODY, x + _BADGE_TEXT_PT, y)
        y = min(y, top - _BADGE_PADDING_PT - 40)
        for block in self.figures:
            block.draw(painter, x + _BADGE_TEXT_PT, y)
            y -= block.height_pt

    @staticmethod
    def text_width(width_pt: float) -> float:
        """The room for words in a badge of a width."""
        return width_pt - _BADGE_TEXT_PT - _BADGE_PADDING_PT


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning that must not be overlooked."""

    lines: tuple[Line, ...]
    width_pt: float
    keep_with_next: bool = False

    @property
    def height_pt(self) -> float:
        """See :class:`~fractureai.reports.blocks.Block`."""
        return len(self.lines) * STRONG.leading_pt + 16

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`~fractureai.reports.blocks.Block`."""
        dark = TONES[Assessment.FRACTURE][0]
        painter.frame(x, top - self.height_pt, self.width_pt, self.height_pt, dark, 1.2)
        painter.sign(Assessment.FRACTURE, x + 20, top - self.height_pt / 2, 18)
        painter.lines(self.lines, STRONG.coloured(dark), x + ALERT_INDENT_PT, top - 8)


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A probability from 0 to 100 % with the two thresholds and the value marked on it."""

    scale: Scale
    assessment: Assessment
    width_pt: float
    height_pt: float = 47.0
    keep_with_next: bool = False

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`~fractureai.reports.blocks.Block`."""
        bottom = top - 19 - _BAR_PT
        zones = (
            (0.0, self.scale.suspected, Assessment.NO_FRACTURE),
            (self.scale.suspected, self.scale.fracture, Assessment.SUSPECTED),
            (self.scale.fracture, 1.0, Assessment.FRACTURE),
        )
        for start, end, assessment in zones:
            left, width = x + start * self.width_pt, (end - start) * self.width_pt
            painter.box(left, bottom, width, _BAR_PT, _middle(assessment))
        painter.frame(x, bottom, self.width_pt, _BAR_PT, MUTED, 0.5)
        self._thresholds(painter, x, bottom)
        self._value(painter, x, bottom)

    def _thresholds(self, painter: Painter, x: float, bottom: float) -> None:
        """Ticks and words under the bar."""
        style = TINY.coloured(INK)
        thresholds = (self.scale.suspected, self.scale.fracture)
        ticks = [threshold * self.width_pt for threshold in thresholds]
        names = zip(("suspected", "fracture"), thresholds, strict=True)
        lines = [set_line(f"{name} from {percent(threshold)}", style) for name, threshold in names]
        places = place_labels(ticks, [width_pt(line, style) for line in lines], self.width_pt)
        for tick, line, (left, row) in zip(ticks, lines, places, strict=True):
            painter.stroke((x + tick, bottom - 9), (x + tick, bottom + _BAR_PT), INK, 1)
            painter.text(line, style, x + left, bottom - 8 - row * 8)

    def _value(self, painter: Painter, x: float, bottom: float) -> None:
        """A pointer on the bar from above with the number beside it."""
        dark = TONES[self.assessment][0]
        at = x + self.scale.value * self.width_pt
        top = bottom + _BAR_PT
        painter.polygon([(at, top - 3), (at - 4.5, top + 5), (at + 4.5, top + 5)], dark)
        painter.stroke((at, bottom), (at, top), dark, 1.6)
        line = set_line(percent(self.scale.value), SMALL_STRONG)
        half = width_pt(line, SMALL_STRONG) / 2
        middle = min(max(at, x + half), x + self.width_pt - half)
        painter.text(line, SMALL_STRONG.coloured(dark), middle, top + 7.5, "centre")


def place_labels(ticks: Sequence[float], widths: Sequence[float], total: float) -> list[tuple[float, int]]:
    """Where the words of the lower and the upper threshold begin, and in which row, so that neither covers the other.

    Each stands outwards of its tick where there is room, else inwards; where they meet, the upper one moves a row down.
    """
    (low, high), (low_width, high_width) = ticks, widths
    low_left = low - 3 - low_width if low - 3 - low_width >= 0 else low + 3
    high_left = high + 3 if high + 3 + high_width <= total else high - 3 - high_width
    meet = low_left < high_left + high_width + 6 and high_left < low_left + low_width + 6
    return [(low_left, 0), (high_left, int(meet))]


def _middle(assessment: Assessment) -> tuple[float, float, float]:
    """A colour between the tint and the dark one, for the zones of the scale."""
    dark, tint = TONES[assessment]
    red, green, blue = (round(0.7 * light + 0.3 * deep, 4) for light, deep in zip(tint, dark, strict=True))
    return (red, green, blue)


@dataclass(frozen=True, slots=True)
class Plate:
    """One picture with its caption, and boxes on it in fractions of its width and height from the upper left."""

    picture: Picture | None
    caption: tuple[Line, ...]
    gap: Line
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class PlateRow:
    """Pictures side by side, each as large as its cell allows."""

    plates: tuple[Plate, ...]
    widths_pt: tuple[float, ...]
    gutter_pt: float
    max_height_pt: float
    keep_with_next: bool = False

    @property
    def height_pt(self) -> float:
        """See :class:`~fractureai.reports.blocks.Block`."""
        return self._pictures_height() + _CAPTION_PT

    def _pictures_height(self) -> float:
        heights = [
            min(width * plate.picture.height_px / plate.picture.width_px, self.max_height_pt)
            for plate, width in zip(self.plates, self.widths_pt, strict=True)
            if plate.picture
        ]
        return max(heights, default=60.0)

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`~fractureai.reports.blocks.Block`."""
        height = self._pictures_height()
        for plate, width in zip(self.plates, self.widths_pt, strict=True):
            if plate.picture:
                self._picture(painter, plate, (x, top, width))
            else:
                painter.box(x, top - height, width, height, PALE)
                painter.frame(x, top - height, width, height, RULE)
                painter.text(plate.gap, SMALL, x + width / 2, top - height / 2 - 3, "centre")
            painter.lines(plate.caption, TINY, x, top - height - 2)
            x += width + self.gutter_pt

    def _picture(self, painter: Painter, plate: Plate, cell: tuple[float, float, float]) -> None:
        picture = plate.picture
        assert picture is not None  # noqa: S101 - told by the caller
        x, top, cell_width = cell
        scale = min(cell_width / picture.width_px, self._pictures_height() / picture.height_px)
        width, height = picture.width_px * scale, picture.height_px * scale
        painter.picture(picture, x, top - height, width, height)
        canvas = painter.canvas
        for x0, y0, x1, y1 in plate.boxes:
            left, bottom = x + x0 * width, top - y1 * height
            painter.frame(left, bottom, (x1 - x0) * width, (y1 - y0) * height, INK, 1.8)
            if plate.is_dashed:
                canvas.setDash(*_ROI_DASH_PT)
            painter.frame(left, bottom, (x1 - x0) * width, (y1 - y0) * height, WHITE, 1.0)
            canvas.setDash()
