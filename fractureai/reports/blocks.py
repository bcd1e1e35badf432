"""The building stones of a page. Each knows its height before it is drawn, so that pages can be counted first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fractureai.domain.study import Assessment
from fractureai.reports.content import Field
from fractureai.reports.glyphs import Line
from fractureai.reports.painter import HEADING, LABEL, PALE, RULE, SMALL, SMALL_STRONG, Painter
from fractureai.reports.typeset import Style, set_line, set_lines

_CELL_PADDING_PT = 3.0
_MAX_CELL_LINES = 4


class Block(Protocol):
    """A stretch of a page over its whole width."""

    @property
    def height_pt(self) -> float:
        """How much of the page it takes."""

    @property
    def keep_with_next(self) -> bool:
        """Whether it must stand on the page of the block after it."""

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """Draw with the upper left corner at (``x``, ``top``)."""


@dataclass(frozen=True, slots=True)
class Gap:
    """White space."""

    height_pt: float
    keep_with_next: bool = False

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """Nothing to draw."""


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of text under one another."""

    lines: tuple[Line, ...]
    style: Style
    indent_pt: float = 0.0
    bullet: bool = False
    keep_with_next: bool = False

    @property
    def height_pt(self) -> float:
        """See :class:`Block`."""
        return len(self.lines) * self.style.leading_pt

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`Block`."""
        if self.bullet:
            painter.text(set_line("–", self.style), self.style, x, top - self.style.leading_pt * 0.72)
        painter.lines(self.lines, self.style, x + self.indent_pt, top)


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title with a rule under it; an entry of the outline."""

    line: Line
    width_pt: float
    outline: str
    key: str
    level: int = 0
    sign: Assessment | None = None
    height_pt: float = 27.0
    keep_with_next: bool = True

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`Block`."""
        painter.canvas.bookmarkHorizontal(self.key, 0, top)
        painter.canvas.addOutlineEntry(self.outline, self.key, self.level)
        indent = 0.0
        if self.sign is not None:
            painter.sign(self.sign, x + 7, top - 12.5, 14)
            indent = 19.0
        painter.text(self.line, HEADING, x + indent, top - 17)
        painter.stroke((x, top - 22.5), (x + self.width_pt, top - 22.5), RULE, 0.8)


@dataclass(frozen=True, slots=True)
class Columns:
    """Blocks side by side, tops aligned."""

    parts: tuple[tuple[float, tuple[Block, ...]], ...]
    keep_with_next: bool = False

    @property
    def height_pt(self) -> float:
        """The highest column's."""
        return max(sum(block.height_pt for block in blocks) for _, blocks in self.parts)

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`Block`."""
        for offset, blocks in self.parts:
            y = top
            for block in blocks:
                block.draw(painter, x + offset, y)
                y -= block.height_pt


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: cells of lines at offsets from the left."""

    cells: tuple[tuple[float, tuple[Line, ...], Style], ...]
    width_pt: float
    shaded: bool = False
    ruled: bool = True
    keep_with_next: bool = False

    @property
    def height_pt(self) -> float:
        """The highest cell's, with air."""
        return max(len(lines) * style.leading_pt for _, lines, style in self.cells) + 2 * _CELL_PADDING_PT

    def draw(self, painter: Painter, x: float, top: float) -> None:
        """See :class:`Block`."""
        if self.shaded:
            painter.box(x, top - self.height_pt, self.width_pt, self.height_pt, PALE)
        for offset, lines, style in self.cells:
            painter.lines(lines, style, x + offset, top - _CELL_PADDING_PT)
        bottom = top - self.height_pt
        if self.ruled:
            painter.stroke((x, bottom), (x + self.width_pt, bottom), RULE, 0.5)


def paragraph(text: str, style: Style, width_pt: float, *, keep_with_next: bool = False) -> Text:
    """A text over the whole width."""
    return Text(set_lines(text, style, width_pt), style, keep_with_next=keep_with_next)


def bullet(text: str, style: Style, width_pt: float) -> Text:
    """An item of a list."""
    return Text(set_lines(text, style, width_pt - 12), style, indent_pt=12, bullet=True)


def heading(text: str, width_pt: float, *, key: str, level: int = 0, sign: Assessment | None = None) -> Heading:
    """A section's title, with the sign of an assessment before it."""
    return Heading(set_line(text, HEADING), width_pt, text, key, level, sign)


def field_rows(fields: Sequence[Field], width_pt: float, label_pt: float, value_style: Style) -> tuple[Row, ...]:
    """Labels on the left, values on the right."""
    return tuple(
        Row(
            (
                (0.0, set_lines(field.label, LABEL, label_pt - 4), LABEL),
                (label_pt, set_lines(field.value, value_style, width_pt - label_pt, _MAX_CELL_LINES), value_style),
            ),
            width_pt,
            ruled=index < len(fields),
        )
        for index, field in enumerate(fields, start=1)
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], widths_pt: Sequence[float]) -> tuple[Row, ...]:
    """A table whose rows may stand on different pages."""
    total = sum(widths_pt)
    offsets = [sum(widths_pt[:index]) + 4 for index in range(len(widths_pt))]

    def cells(texts: Sequence[str], style: Style) -> tuple[tuple[float, tuple[Line, ...], Style], ...]:
        return tuple(
            (offset, set_lines(text, style, width - 8, _MAX_CELL_LINES), style)
            for offset, width, text in zip(offsets, widths_pt, texts, strict=True)
        )

    body_style = SMALL.coloured(SMALL_STRONG.colour)
    return (
        Row(cells(head, SMALL_STRONG), total, shaded=True, keep_with_next=True),
        *(Row(cells(row, body_style), total) for row in rows),
    )
