"""Names that others give to files and folders: decoded, safe to show and to store, bounded in bytes.

Every name that enters is cleaned here once, whichever way it came: command line, form, upload, archive.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from fractureai.domain.name_encoding import decode, encoding_of

MAX_NAME_BYTES = 255
"""Of a file's name, and of the folders before it; what most file systems take for one name."""

_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def safe_text(text: str | None, max_characters: int) -> str:
    """One line without control, formatting or surrogate characters; cut at its end."""
    kept = (letter for letter in (text or "")[: 4 * max_characters] if unicodedata.category(letter) not in _UNSHOWABLE)
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
        halves = _SURROGATES.sub(lambda found: found[0] if _ESCAPED_BYTES.match(found[0]) else "", name)
        name = halves.encode("utf-8", "surrogateescape")
    return decode(name, encoding or encoding_of([name]))


def _bounded(text: str) -> str:
    """At most :data:`MAX_NAME_BYTES` of it. The end stays, for there the type is."""
    if len(_utf8(text)) <= MAX_NAME_BYTES:
        return text
    mark = f"~{hashlib.sha256(_utf8(text)).hexdigest()[:8]}~"
    return mark + _utf8(text)[len(mark) - MAX_NAME_BYTES :].decode("utf-8", "ignore").lstrip("/")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def ending_of(name: str) -> str:
    """The ending of a name in lower case without its dot; ``""`` without one."""
    return PurePosixPath(name).suffix[1:].lower()
