"""What a key may look like: the least that every S3 server and every file system can keep."""

from __future__ import annotations

import re

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def check_key(key: str) -> str:
    """Return ``key`` if it is relative, ASCII and made of short segments, none of them hidden; else ``ValueError``.

    A segment never begins with a dot, so ``..`` cannot climb out of a folder and no key names a store's own files.
    """
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        raise ValueError(f"not a key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if keys can start with it (whole segments, then any part of one); else ``ValueError``."""
    *whole, last = prefix.split("/")
    if not all(_SEGMENT.fullmatch(segment) for segment in whole) or (last and not _SEGMENT.fullmatch(last)):
        raise ValueError(f"not a prefix of keys: {prefix!r}")
    return prefix
