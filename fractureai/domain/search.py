"""What a text search finds: beginnings of words, folded so that case and accents make no difference.

No index of substrings: words and a sorted list of them are there on every database, and stay fast when a term is rare
among millions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_WORDS = 64
"""Words kept of one study: enough for a label and the file names of every view that people tell apart."""

MAX_WORD_LENGTH = 64

_WORD = re.compile(r"[^\W_]+")


def words_of(texts: Iterable[str], *, most: int = MAX_WORDS) -> tuple[str, ...]:
    """The distinct words of some texts, in order, folded. ``Größe_3.DCM`` is ``grosse``, ``3``, ``dcm``."""
    found: dict[str, None] = {}
    for text in texts:
        for match in _WORD.finditer(_folded(text)):
            found.setdefault(match.group()[:MAX_WORD_LENGTH])
            if len(found) == most:
                return tuple(found)
    return tuple(found)


def _folded(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
