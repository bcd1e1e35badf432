"""Cleaned text broken into lines of a given width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from unicodedata import category, normalize

from fractureai.reports.glyphs import Line, shape

MAX_CHARACTERS = 400
"""A field longer than this is cut: no name is, and a report must stay readable whatever a header holds."""

_SPACE = re.compile(r"\s+")
# Bidirectional controls, zero-width characters, variation selectors, soft hyphen: invisible, and able to mislead.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_NOT_COMPATIBILITY_IDEOGRAPHS = re.compile("[^\uf900-\ufaff\U0002f800-\U0002fa1f]+")
# What a line may be broken around: a single ideograph, kana or syllable; a word with the spaces after it.
_IDEOGRAPHS = "\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_TOKEN = re.compile(f"[{_IDEOGRAPHS}] *|[^ {_IDEOGRAPHS}]+ *| +")


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is set. Sizes in points, colour as RGB in 0..1."""

    size_pt: float
    leading_pt: float
    colour: tuple[float, float, float]
    bold: bool = False

    def coloured(self, colour: tuple[float, float, float]) -> Style:
        """The same in another colour."""
        return replace(self, colour=colour)


def clean(text: str, limit: int = MAX_CHARACTERS) -> str:
    """One line of text safe to draw: no control, formatting or invisible characters, composed, of bounded length."""
    text = _SPACE.sub(" ", text[: 4 * limit])
    text = _INVISIBLE.sub("", text)
    if not text.isascii():
        # Compatibility ideographs are names' spellings; composing would replace them.
        text = _NOT_COMPATIBILITY_IDEOGRAPHS.sub(lambda found: normalize("NFC", found[0]), text)
    text = "".join(map(_visible, text)).strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _visible(character: str) -> str:
    kind = category(character)
    if kind == "Cc":
        return ""
    return "\ufffd" if kind == "Cs" else character


def set_line(text: str, style: Style) -> Line:
    """One line, as wide as it comes."""
    return shape(clean(text), bold=style.bold)


def set_lines(text: str, style: Style, width_pt: float, max_lines: int | None = None) -> tuple[Line, ...]:
    """Lines no wider than ``width_pt``; what does not fit into ``max_lines`` is cut and ends in an ellipsis."""
    limit = width_pt * 1000 / style.size_pt
    found = _rows(clean(text, MAX_CHARACTERS * 4), limit, style.bold)
    rows = list(found if max_lines is None else islice(found, max_lines + 1))
    if max_lines is not None and len(rows) > max_lines:
        rows = [*rows[: max_lines - 1], _ellipsed(rows[max_lines - 1], limit, style.bold)]
    return tuple(shape(row, bold=style.bold) for row in rows)


def width_pt(line: Line, style: Style) -> float:
    """How wide the line is drawn."""
    return line.width * style.size_pt / 1000


def _rows(text: str, limit: float, bold: bool) -> Iterator[str]:
    row, row_width = "", 0.0
    for token in _TOKEN.findall(text):
        word = token.rstrip(" ")
        if row and row_width + _width(word, bold) > limit:
            yield row.rstrip(" ")
            row, row_width = "", 0.0
        while _width(word, bold) > limit:
            head = _fitting(word, limit, bold)
            yield head
            word = word[len(head) :]
            token = token[len(head) :]
        row += token
        row_width += _width(token, bold)
    if row.strip():
        yield row.rstrip(" ")


def _fitting(word: str, limit: float, bold: bool) -> str:
    """The longest beginning of ``word`` within ``limit``, at least one character with its marks."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if shape(word[:middle], bold=bold).width <= limit:
            low = middle
        else:
            high = middle - 1
    end = low
    while end > 1 and end < len(word) and category(word[end])[0] == "M":
        end -= 1
    if end == 1:
        end = low
    return word[:end]


def _ellipsed(row: str, limit: float, bold: bool) -> str:
    room = limit - _width("…", bold)
    return (row if _width(row, bold) <= room else _fitting(row, room, bold)).rstrip(" ") + "…"


@lru_cache(maxsize=2048)
def _width(word: str, bold: bool) -> float:
    return shape(word, bold=bold).width
