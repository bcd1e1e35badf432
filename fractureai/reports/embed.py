"""Fonts inside the PDF: only the glyphs that were drawn, as composite fonts with a map back to text.

ISO 32000-1, 9.7 (composite fonts, Identity-H) and 9.10 (extraction of text). reportlab's own TrueType support parses
every font into Python objects and numbers shaped glyphs by what the process drew before; a report must come out the
same from a fresh worker and an old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import uharfbuzz as hb
from reportlab.pdfbase.pdfdoc import PDFArray, PDFDictionary, PDFName, PDFStream, PDFString, PDFZCompress
from reportlab.pdfgen.canvas import Canvas

from fractureai.reports.glyphs import Face, Glyph, GlyphRun, Line, face

_KEPT_TABLES = {"glyf", "head", "hhea", "hmtx", "loca", "maxp"}
_MAP_CHUNK = 100  # entries of one bfchar section, ISO 32000-1 9.10.3 by way of Adobe Technical Note 5014


class _Subset:
    """The glyphs of one font in one document. A character id is the order of first use of a glyph and its text."""

    def __init__(self, font: Face, resource: str) -> None:
        self.font = font
        self.resource = resource
        self.ids: dict[tuple[int, str], int] = {(0, ""): 0}

    def id_of(self, glyph: Glyph) -> int:
        """The two-byte code under which the content stream names the glyph."""
        return self.ids.setdefault((glyph.gid, glyph.text), len(self.ids))

    def width(self, gid: int) -> int:
        """As declared in the PDF, in thousandths of the font size."""
        return round(self.font.advance(gid))


class FontPool:
    """The fonts of one document."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._subsets: dict[str, _Subset] = {}

    def draw(self, line: Line, x: float, y: float, size: float) -> None:
        """Draw a line with its baseline's left end at ``x``, ``y``, in the canvas's fill colour."""
        operators = [f"BT 1 0 0 1 {x:.2f} {y:.2f} Tm"]
        for run in line.runs:
            operators += self._run(run, size)
        operators.append("ET")
        self._canvas.addLiteral(" ".join(operators))

    def _run(self, run: GlyphRun, size: float) -> Iterator[str]:
        subset = self._subsets.get(run.face)
        if subset is None:
            subset = self._subsets[run.face] = _Subset(face(run.face), f"T{len(self._subsets)}")
        yield f"/{subset.resource} {size:g} Tf"
        codes: list[str] = []  # the open array of TJ: codes and corrections of the pen
        rise = pen = drawn = 0.0  # where the next glyph belongs, and where the PDF's widths put it
        for glyph in run.glyphs:
            if glyph.dy != rise:
                yield from _show(codes)
                rise = glyph.dy
                yield f"{rise * size / 1000:.2f} Ts"
            correction = round(drawn - (pen + glyph.dx))
            if correction:
                codes.append(f">{correction}<")
            codes.append(f"{subset.id_of(glyph):04X}")
            drawn += subset.width(glyph.gid) - correction
            pen += glyph.advance
        correction = round(drawn - pen)
        if correction:
            codes.append(f">{correction}<")
        yield from _show(codes)
        if rise:
            yield "0 Ts"

    def finish(self) -> None:
        """Write the fonts into the document; call once, before it is saved."""
        document = self._canvas._doc
        fonts = document.idToObject["BasicFonts"].dict
        for subset in self._subsets.values():
            fonts[subset.resource] = _font_object(document, subset)


def _utf16(text: str) -> str:
    return text.encode("utf-16-be").hex().upper()


def _show(codes: list[str]) -> Iterator[str]:
    if codes:
        yield "[<" + "".join(codes) + ">] TJ"
        codes.clear()


def _font_object(document: object, subset: _Subset) -> object:
    """The chain of objects of one composite font; returns the reference to its head."""
    reference = document.Reference  # type: ignore[attr-defined]
    tag = "".join(chr(ord("A") + int(digit)) for digit in f"{int(subset.resource[1:]):06d}")
    name = PDFName(f"{tag}+{subset.font.name}")
    gids = [gid for gid, _ in subset.ids]
    program, renumbered = _font_program(subset.font, gids)
    extents = subset.font.hb_font.get_font_extents("ltr")
    ascent, descent = (round(value * subset.font.scale) for value in (extents.ascender, extents.descender))
    descriptor = _dictionary(
        Type=PDFName("FontDescriptor"),
        FontName=name,
        Flags=4,
        FontBBox=PDFArray([-1000, descent, 2000, ascent]),
        ItalicAngle=0,
        Ascent=ascent,
        Descent=descent,
        CapHeight=700,
        StemV=80,
        FontFile2=reference(_stream(program, Length1=len(program))),
    )
    gid_map = b"".join(renumbered[gid].to_bytes(2, "big") for gid in gids)
    descendant = _dictionary(
        Type=PDFName("Font"),
        Subtype=PDFName("CIDFontType2"),
        BaseFont=name,
        CIDSystemInfo=_dictionary(Registry=PDFString("Adobe"), Ordering=PDFString("Identity"), Supplement=0),
        FontDescriptor=reference(descriptor),
        W=PDFArray([0, PDFArray([subset.width(gid) for gid in gids])]),
        CIDToGIDMap=reference(_stream(gid_map)),
    )
    head = _dictionary(
        Type=PDFName("Font"),
        Subtype=PDFName("Type0"),
        BaseFont=name,
        Encoding=PDFName("Identity-H"),
        DescendantFonts=PDFArray([reference(descendant)]),
        ToUnicode=reference(_stream(_to_unicode(text for _, text in subset.ids))),
    )
    return reference(head)


def _dictionary(**entries: object) -> PDFDictionary:
    return PDFDictionary(entries)


def _stream(content: bytes, **entries: object) -> PDFStream:
    return PDFStream(_dictionary(**entries), content, [PDFZCompress])


def _font_program(font: Face, gids: Iterable[int]) -> tuple[bytes, dict[int, int]]:
    """A TrueType font of these glyphs, without hints, and the new number of each."""
    request = hb.SubsetInput()
    request.flags = hb.SubsetFlags.NO_HINTING | hb.SubsetFlags.NOTDEF_OUTLINE | hb.SubsetFlags.NO_LAYOUT_CLOSURE
    request.glyph_set.update(gids)
    dropped = set(font.hb_face.table_tags) - _KEPT_TABLES
    request.drop_table_tag_set.update(int.from_bytes(tag.encode("ascii"), "big") for tag in dropped)
    plan = hb.SubsetPlan(font.hb_face, request)
    return plan.execute().blob.data, plan.old_to_new_glyph_mapping


def _to_unicode(texts: Iterable[str]) -> bytes:
    entries = [f"<{number:04X}> <{_utf16(text)}>" for number, text in enumerate(texts) if text]
    parts = [
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
        "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
        "1 begincodespacerange <0000> <FFFF> endcodespacerange",
    ]
    for start in range(0, len(entries), _MAP_CHUNK):
        chunk = entries[start : start + _MAP_CHUNK]
        parts += [f"{len(chunk)} beginbfchar", *chunk, "endbfchar"]
    parts.append("endcmap CMapName currentdict /CMap defineresource pop end end")
    return "\n".join(parts).encode("ascii")
