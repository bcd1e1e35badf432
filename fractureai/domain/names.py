"""Names that others give to files and folders: decoded, safe to show and to store, bounded in bytes.

Every name that enters is cleaned here once, whichever way it came: command line, form, upload, archive.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from fractureai.domain.name_encoding import decode, encoding_of

MAX_NAME_BYTES = 255
"""Of a file's name, and of the folders before it; what most file systems take for one name."""

MAX_LABEL_LENGTH = 200

_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def safe_text(text: str | None, max_characters: int) -> str:
    """One line without control, formatting or surrogate characters; cut at its end."""
    decoded = _text((text or "")[: 4 * max_characters], None)
    kept = (letter for letter in decoded if unicodedata.category(letter) not in _UNSHOWABLE)
    return "".join(kept).strip()[:max_characters].rstrip()


def safe_name(name: str | bytes | None, encoding: str | None = None) -> str:
    """A file's name with its folders, as it is shown and stored from here on; ``""`` if nothing is left of it.

    Bytes, and text from a system call that stands for bytes (PEP 383), are decoded. Control characters, direction
    overrides and steps out of the folder are dropped. What is cut is replaced by its hash, so that two names stay two.
    It is for people and for sorting; it never becomes a path.

    Parameters
    ----------
    encoding:
        Of the bytes that are not UTF-8; found out by default.
    """
    text = _text(name or "", encoding)
    parts = (safe_text(part, len(part)) for part in text.split("/"))
    *folders, last = [part for part in parts if part not in {"", ".", ".."}] or [""]
    return "/".join(filter(None, (_bounded("/".join(folders)), _bounded(last))))


def distinct_names(names: Sequence[str]) -> list[str]:
    """Each name made safe, and numbered where two folders, or two files of a folder, would become one.

    Files are sorted into studies by their folders and names: two patients' must not become the same.
    """
    escaped = [_bytes_of(part) for name in names if _ESCAPED_BYTES.search(name) for part in name.split("/")]
    encoding = encoding_of(escaped)
    folders, files = _Distinct(), _Distinct()
    found = []
    for name in names:
        folder, _, last = name.rpartition("/")
        safe_folder = folders.of(folder, safe_name(folder, encoding))
        safe_last = safe_name(last, encoding) or "unnamed"
        found.append(files.of(name, f"{safe_folder}/{safe_last}" if safe_folder else safe_last))
    return found


class _Distinct:
    """Safe names, each for one original."""

    def __init__(self) -> None:
        self._safe: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, original: str, wanted: str) -> str:
        """``wanted``, or the next like it if that stands for another name."""
        if original not in self._safe:
            free, number = wanted, 2
            while free in self._taken:
                path = PurePosixPath(wanted or "unnamed")
                free = str(path.with_name(f"{path.stem} ({number}){path.suffix}"))
                number += 1
            self._taken.add(free)
            self._safe[original] = free
        return self._safe[original]


def derived_name(stem: str, ending: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """``stem`` and ``ending`` as one file name; the stem is cut so that the name fits any file system."""
    room = max_bytes - len(_utf8(ending))
    kept = stem[:room]
    while len(_utf8(kept)) > room:
        kept = kept[:-1]
    return kept + ending


def _text(name: str | bytes, encoding: str | None) -> str:
    if isinstance(name, str):
        if not _ESCAPED_BYTES.search(name):
            return _SURROGATES.sub("", name)
        name = _bytes_of(name)
    # Each part by itself: a folder may be UTF-8 and what was copied into it not.
    parts = name.split(b"/")
    encoding = encoding or encoding_of(parts)
    return "/".join(decode(part, encoding) for part in parts)


def _bytes_of(name: str) -> bytes:
    """The bytes that a name of a system call stands for; other surrogates are dropped."""
    kept = _SURROGATES.sub(lambda found: found[0] if _ESCAPED_BYTES.match(found[0]) else "", name)
    return kept.encode("utf-8", "surrogateescape")


def _bounded(text: str) -> str:
    """At most :data:`MAX_NAME_BYTES` of it. The end stays, for there the type is."""
    if len(_utf8(text)) <= MAX_NAME_BYTES:
        return text
    mark = f"~{hashlib.sha256(_utf8(text)).hexdigest()[:8]}~"
    return mark + _utf8(text)[len(mark) - MAX_NAME_BYTES :].decode("utf-8", "ignore").lstrip("/")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
