"""Numbers of bytes for people, the same on pages, in problems and on the command line."""

from __future__ import annotations

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def binary_size(size_bytes: int) -> str:
    """``813 KiB``, ``1.4 MiB``; below ten of a unit with one decimal, as the pages' scripts write it."""
    size, unit = float(size_bytes), 0
    while round(size) >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    number = f"{size:.1f}".removesuffix(".0") if unit and size < 9.95 else f"{size:.0f}"
    return f"{number} {'byte' if size_bytes == 1 else _UNITS[unit]}"


def above_limit(size_bytes: int, limit_bytes: int) -> str:
    """The detail of a refusal: ``813 KiB, limit 195 KiB``."""
    shown, limit = binary_size(size_bytes), binary_size(limit_bytes)
    return f"{size_bytes:,} bytes, limit {limit_bytes:,} bytes" if shown == limit else f"{shown}, limit {limit}"
