"""Foreign text made safe to show, to log and to write into other formats."""

from __future__ import annotations

import unicodedata
from typing import Any

# Control, format (bidirectional overrides among them), surrogate, private, unassigned; line, paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(value: Any, max_characters: int = 128) -> str:
    """One short line: no control, format or surrogate characters, no runs of blanks, at most ``max_characters``."""
    kept = (" " if unicodedata.category(char) in _UNSAFE_CATEGORIES else char for char in str(value)[:4096])
    return " ".join("".join(kept).split())[:max_characters].rstrip()
