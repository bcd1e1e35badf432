"""The pen: text, shapes and pictures on the pages of one document, with the colours and styles of the report."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.pdfgen.canvas import Canvas

from fractureai.domain.study import Assessment
from fractureai.reports.embed import FontPool
from fractureai.reports.glyphs import Line
from fractureai.reports.pictures import Picture
from fractureai.reports.typeset import Style, width_pt

Colour = tuple[float, float, float]
Point = tuple[float, float]


def _rgb(text: str) -> Colour:
    red, green, blue = (int(text[index : index + 2], 16) / 255 for index in (0, 2, 4))
    return (round(red, 4), round(green, 4), round(blue, 4))


INK = _rgb("1B2733")
MUTED = _rgb("55636F")
RULE = _rgb("D3DAE1")
PALE = _rgb("F3F6F8")
BAND = _rgb("17324D")
WHITE = (1.0, 1.0, 1.0)

# Dark and tint; dark ones keep a contrast of 4.5 to 1 on their tint, and differ in lightness for the colour-blind.
TONES: dict[Assessment, tuple[Colour, Colour]] = {
    Assessment.FRACTURE: (_rgb("A32C0A"), _rgb("FBEAE4")),
    Assessment.SUSPECTED: (_rgb("7A5200"), _rgb("FBF2DC")),
    Assessment.INCONCLUSIVE: (_rgb("49545E"), _rgb("EEF1F3")),
    Assessment.NO_FRACTURE: (_rgb("12557F"), _rgb("E5F0F7")),
}

TITLE = Style(19, 25, INK, bold=True)
HEADING = Style(12, 16, BAND, bold=True)
BADGE = Style(15, 20, INK, bold=True)
BODY = Style(9.5, 13.2, INK)
STRONG = Style(9.5, 13.2, INK, bold=True)
LABEL = Style(8.5, 13.2, MUTED)
SMALL = Style(8, 11, MUTED)
SMALL_STRONG = Style(8, 11, INK, bold=True)
TINY = Style(7, 9.5, MUTED)


class Painter:
    """Draws on a canvas. Origin at the page's lower left corner, points."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.fonts = FontPool(canvas)

    def text(self, line: Line, style: Style, x: float, y: float, align: str = "left") -> None:
        """A line with its baseline at ``y``; ``x`` is its left end, middle (``centre``) or right end (``right``)."""
        offset = {"left": 0.0, "centre": 0.5, "right": 1.0}[align] * width_pt(line, style)
        self.canvas.setFillColor(style.colour)
        self.fonts.draw(line, x - offset, y, style.size_pt)

    def lines(self, lines: Sequence[Line], style: Style, x: float, top: float) -> float:
        """Lines under one another from ``top`` down; returns where they end."""
        for line in lines:
            top -= style.leading_pt
            self.text(line, style, x, top + style.leading_pt * 0.28)
        return top

    def box(self, x: float, y: float, width: float, height: float, fill: Colour, radius: float = 0) -> None:
        """A filled rectangle."""
        self.canvas.setFillColor(fill)
        if radius:
            self.canvas.roundRect(x, y, width, height, radius, stroke=0, fill=1)
        else:
            self.canvas.rect(x, y, width, height, stroke=0, fill=1)

    def frame(self, x: float, y: float, width: float, height: float, colour: Colour, line_pt: float = 0.6) -> None:
        """An empty rectangle."""
        self.canvas.setStrokeColor(colour)
        self.canvas.setLineWidth(line_pt)
        self.canvas.rect(x, y, width, height, stroke=1, fill=0)

    def stroke(self, start: Point, end: Point, colour: Colour, line_pt: float = 0.6) -> None:
        """A straight line."""
        self.canvas.setStrokeColor(colour)
        self.canvas.setLineWidth(line_pt)
        self.canvas.line(*start, *end)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """A filled polygon."""
        path = self.canvas.beginPath()
        path.moveTo(*points[0])
        for point in points[1:]:
            path.lineTo(*point)
        path.close()
        self.canvas.setFillColor(fill)
        self.canvas.drawPath(path, stroke=0, fill=1)

    def picture(self, picture: Picture, x: float, y: float, width: float, height: float) -> None:
        """A picture stretched into a rectangle."""
        self.canvas.drawImage(picture, x, y, width, height)

    def sign(self, assessment: Assessment, x: float, y: float, size: float) -> None:
        """The assessment's own shape around (``x``, ``y``), so that colour is never the only sign of it."""
        _SIGNS[assessment](self, x, y, size / 2, TONES[assessment][0])


def _triangle(painter: Painter, x: float, y: float, half: float, dark: Colour) -> None:
    painter.polygon([(x - half, y - half * 0.85), (x + half, y - half * 0.85), (x, y + half * 0.9)], dark)
    painter.box(x - half * 0.1, y - half * 0.25, half * 0.2, half * 0.62, WHITE)
    painter.box(x - half * 0.1, y - half * 0.62, half * 0.2, half * 0.2, WHITE)


def _diamond(painter: Painter, x: float, y: float, half: float, dark: Colour) -> None:
    painter.polygon([(x - half, y), (x, y - half), (x + half, y), (x, y + half)], dark)
    painter.box(x - half * 0.1, y - half * 0.12, half * 0.2, half * 0.62, WHITE)
    painter.box(x - half * 0.1, y - half * 0.5, half * 0.2, half * 0.2, WHITE)


def _square(painter: Painter, x: float, y: float, half: float, dark: Colour) -> None:
    painter.box(x - half * 0.8, y - half * 0.8, half * 1.6, half * 1.6, dark)
    painter.box(x - half * 0.45, y - half * 0.1, half * 0.9, half * 0.2, WHITE)


def _ring(painter: Painter, x: float, y: float, half: float, dark: Colour) -> None:
    painter.canvas.setStrokeColor(dark)
    painter.canvas.setLineWidth(half * 0.28)
    painter.canvas.circle(x, y, half * 0.75, stroke=1, fill=0)


_SIGNS = {
    Assessment.FRACTURE: _triangle,
    Assessment.SUSPECTED: _diamond,
    Assessment.INCONCLUSIVE: _square,
    Assessment.NO_FRACTURE: _ring,
}
