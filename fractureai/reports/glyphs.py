"""From characters to glyphs: which bundled font draws a character, and how the letters of a line join.

HarfBuzz shapes what needs it (Arabic, the scripts of India, Thai, combining marks). Fonts are mapped from disk, never
read whole, so the large one for Chinese, Japanese and Korean costs memory only for the glyphs in use.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from unicodedata import category

import uharfbuzz as hb

from fractureai.errors import BrokenDeployment
from fractureai.reports import bidi

FOLDER = Path(__file__).parent / "fonts"

_REGULAR = "NotoSans-Regular"
_BOLD = "NotoSans-Bold"
_CJK = "DroidSansFallback"
# First and last code point, font. What is in none of these is looked for in _CJK.
_SCRIPTS = (
    (0x0531, 0x058F, "NotoSansArmenian-Regular"),
    (0x0590, 0x05FF, "NotoSansHebrew-Regular"),
    (0x0600, 0x077F, "NotoSansArabic-Regular"),
    (0x0780, 0x07BF, "NotoSansThaana-Regular"),
    (0x08A0, 0x08FF, "NotoSansArabic-Regular"),
    (0x0900, 0x097F, "NotoSansDevanagari-Regular"),
    (0x0980, 0x09FF, "NotoSansBengali-Regular"),
    (0x0A00, 0x0A7F, "NotoSansGurmukhi-Regular"),
    (0x0A80, 0x0AFF, "NotoSansGujarati-Regular"),
    (0x0B00, 0x0B7F, "NotoSansOriya-Regular"),
    (0x0B80, 0x0BFF, "NotoSansTamil-Regular"),
    (0x0C00, 0x0C7F, "NotoSansTelugu-Regular"),
    (0x0C80, 0x0CFF, "NotoSansKannada-Regular"),
    (0x0D00, 0x0D7F, "NotoSansMalayalam-Regular"),
    (0x0D80, 0x0DFF, "NotoSansSinhala-Regular"),
    (0x0E00, 0x0E7F, "NotoSansThai-Regular"),
    (0x0E80, 0x0EFF, "NotoSansLao-Regular"),
    (0x1000, 0x109F, "NotoSansMyanmar-Regular"),
    (0x10A0, 0x10FF, "NotoSansGeorgian-Regular"),
    (0x1200, 0x139F, "NotoSansEthiopic-Regular"),
    (0x1780, 0x17FF, "NotoSansKhmer-Regular"),
    (0x19E0, 0x19FF, "NotoSansKhmer-Regular"),
    (0x1C90, 0x1CBF, "NotoSansGeorgian-Regular"),
    (0x1CD0, 0x1CFF, "NotoSansDevanagari-Regular"),
    (0x2D00, 0x2D2F, "NotoSansGeorgian-Regular"),
    (0x2D30, 0x2D7F, "NotoSansTifinagh-Regular"),
    (0x2D80, 0x2DDF, "NotoSansEthiopic-Regular"),
    (0xA8E0, 0xA8FF, "NotoSansDevanagari-Regular"),
    (0xA9E0, 0xA9FF, "NotoSansMyanmar-Regular"),
    (0xAA60, 0xAA7F, "NotoSansMyanmar-Regular"),
    (0xAB00, 0xAB2F, "NotoSansEthiopic-Regular"),
    (0xFB13, 0xFB17, "NotoSansArmenian-Regular"),
    (0xFB1D, 0xFB4F, "NotoSansHebrew-Regular"),
    (0xFB50, 0xFDFF, "NotoSansArabic-Regular"),
    (0xFE70, 0xFEFC, "NotoSansArabic-Regular"),
)
_STARTS = [first for first, _, _ in _SCRIPTS]
_UNSHAPED = {_REGULAR, _BOLD, _CJK}
_JOINERS = {0x200C, 0x200D}


@dataclass(frozen=True, slots=True)
class Glyph:
    """One glyph in drawing order, in thousandths of the font size.

    ``text`` is what it stands for, in reading order; empty where an earlier glyph of its cluster says it.
    """

    gid: int
    text: str
    advance: float
    dx: float = 0.0
    dy: float = 0.0


@dataclass(frozen=True, slots=True)
class GlyphRun:
    """Glyphs of one font, from left to right."""

    face: str
    glyphs: tuple[Glyph, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text ready to be drawn: runs from left to right, width in thousandths of the font size."""

    runs: tuple[GlyphRun, ...]
    width: float


class Face:
    """One bundled font.

    Raises
    ------
    BrokenDeployment
        If its file is missing.
    """

    def __init__(self, name: str) -> None:
        path = FOLDER / f"{name}.ttf"
        if not path.is_file():
            raise BrokenDeployment(f"the font {path} is missing; install the package again")
        self.name = name
        self.hb_face = hb.Face(hb.Blob.from_file_path(str(path)))
        self.hb_font = hb.Font(self.hb_face)
        self.scale = 1000 / self.hb_face.upem

    def gid(self, code: int) -> int:
        """The glyph of a code point; 0 if the font has none."""
        return self.hb_font.get_nominal_glyph(code) or 0

    def advance(self, gid: int) -> float:
        """Width of a glyph in thousandths of the font size."""
        return self.hb_font.get_glyph_h_advance(gid) * self.scale


@cache
def face(name: str) -> Face:
    """The font, mapped on first use."""
    return Face(name)


def shape(text: str, *, bold: bool = False) -> Line:
    """Lay out one line of cleaned text.

    A character that no bundled font has becomes the replacement box of the main font.
    """
    if not bidi.has_right_to_left(text):
        runs = tuple(_runs(text, bold=bold, right_to_left=False))
        return Line(runs, _width(runs))
    levels = bidi.levels(text, bidi.base_level(text))
    spans: list[tuple[int, str]] = []
    start = 0
    for level, members in groupby(levels):
        end = start + len(list(members))
        spans.append((level, text[start:end]))
        start = end
    ordered: list[GlyphRun] = []
    for index in bidi.visual_order([level for level, _ in spans]):
        level, part = spans[index]
        pieces = list(_runs(part, bold=bold, right_to_left=bool(level % 2)))
        ordered += reversed(pieces) if level % 2 else pieces
    return Line(tuple(ordered), _width(ordered))


def is_complete(text: str) -> bool:
    """Whether the bundled fonts have every character of a text, or draw nothing for it anyway."""
    return text.isascii() or all(
        ord(character) in _JOINERS or _find(ord(character), False)[1].gid
        for character in text
        if character.isprintable()
    )


def _width(runs: tuple[GlyphRun, ...] | list[GlyphRun]) -> float:
    return sum(glyph.advance for run in runs for glyph in run.glyphs)


def _runs(text: str, *, bold: bool, right_to_left: bool) -> Iterator[GlyphRun]:
    """Runs of one font each, in the order of reading."""
    start, current = 0, ""
    for index, character in enumerate(text):
        name = _stay(ord(character), current) or _find(ord(character), bold)[0]
        if name != current:
            if index > start:
                yield _run(text[start:index], current, right_to_left=right_to_left)
            start, current = index, name
    if text:
        yield _run(text[start:], current, right_to_left=right_to_left)


def _stay(code: int, current: str) -> str:
    """The current font if the character goes with what stands before it: a mark, a joiner, a space."""
    if not current or (code < 0x300 and code != 0x20):
        return ""
    follows = code == 0x20 or code in _JOINERS or category(chr(code)) in ("Mn", "Me", "Mc")
    return current if follows and (code in _JOINERS or face(current).gid(code)) else ""


@lru_cache(maxsize=4096)
def _find(code: int, bold: bool) -> tuple[str, Glyph]:
    """The font that has a character, and its glyph as it stands alone."""
    main = _BOLD if bold else _REGULAR
    for name in (main, _script_face(code), _CJK):
        gid = face(name).gid(code) if name else 0
        if gid:
            return name, Glyph(gid, chr(code), face(name).advance(gid))
    return main, Glyph(0, chr(code), face(main).advance(0))


def _script_face(code: int) -> str:
    index = bisect_right(_STARTS, code) - 1
    if index < 0:
        return ""
    _, last, name = _SCRIPTS[index]
    return name if code <= last else ""


def _run(text: str, name: str, *, right_to_left: bool) -> GlyphRun:
    simple = not right_to_left and name in _UNSHAPED
    if simple and (text.isascii() or not any(_needs_shaping(character) for character in text)):
        return GlyphRun(name, tuple(_alone(ord(character), name) for character in text))
    return GlyphRun(name, tuple(_shaped(text, name, right_to_left=right_to_left)))


def _needs_shaping(character: str) -> bool:
    return ord(character) in _JOINERS or category(character) in ("Mn", "Me", "Mc")


@lru_cache(maxsize=4096)
def _alone(code: int, name: str) -> Glyph:
    gid = face(name).gid(code)
    return Glyph(gid, chr(code), face(name).advance(gid))


def _shaped(text: str, name: str, *, right_to_left: bool) -> Iterator[Glyph]:
    font = face(name)
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if right_to_left else "ltr"
    hb.shape(font.hb_font, buffer)
    infos = buffer.glyph_infos
    words = _shares(text, [info.cluster for info in infos])
    for info, position, share in zip(infos, buffer.glyph_positions, words, strict=True):
        yield Glyph(
            info.codepoint,
            share,
            position.x_advance * font.scale,
            position.x_offset * font.scale,
            position.y_offset * font.scale,
        )


def _shares(text: str, clusters: Sequence[int]) -> list[str]:
    """Which characters each glyph stands for, given the index in ``text`` where the cluster of each glyph begins.

    Within a cluster one character a glyph in turn, what is left over to the last: programs that take text out of the
    PDF see a gap, and a word break, where a glyph stands for nothing.
    """
    ends = dict(pairwise([*sorted(set(clusters)), len(text)]))
    shares = [""] * len(clusters)
    right_to_left = clusters[0] > clusters[-1]
    for cluster, members in groupby(range(len(clusters)), key=clusters.__getitem__):
        glyphs = list(members)
        characters = text[cluster : ends[cluster]]
        reading = glyphs[::-1] if right_to_left else glyphs
        for index, character in zip(reading, characters, strict=False):
            shares[index] = character
        if len(characters) > len(glyphs):
            shares[reading[-1]] += characters[len(glyphs) :]
    return shares
