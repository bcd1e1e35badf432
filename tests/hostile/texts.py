"""Words that mean something to whoever writes them on: HTML, PDF paragraphs, spreadsheets, logs, headers, terminals."""

from __future__ import annotations

from types import MappingProxyType

TEXTS = MappingProxyType(
    {
        "html": "<script>alert('pwned-marker')</script>",
        "attribute": "\" onmouseover=\"alert('pwned-marker')",
        "template": "{{ 7*7 }}{% import os %}${7*7}#{7*7}",
        "pdf-image": '<img src="/etc/hostname"/>',
        "pdf-unclosed": "<b>never closed <font color='red'>",
        "pdf-link": '<a href="javascript:alert(1)">pwned-marker</a>',
        "pdf-operators": "(x) Tj ET Q endstream endobj",
        "formula": '=HYPERLINK("http://evil.example";"pwned-marker")',
        "formula-at": "@SUM(1+1)*cmd|' /C calc'!A0",
        "formula-tab": "\t=1+1",
        "log-lines": "a\r\n2026-11-23 00:00:00 ERROR pwned-marker",
        "header": "a\r\nSet-Cookie: pwned-marker=1\r\n\r\n<html>",
        "terminal": "\x1b]0;pwned\x07\x1b[2J\x1b[31mred",
        "bidi": "\u202egnp.\u2066drac\u2069",
        "zero-width": "a\u200b\u200d\ufeff\u00adb",
        "nul": "a\0b\0",
        "long": "W" * 60_000,
        "combining": "e" + "\u0301" * 2000,
        "surrogate": "a\ud800b",
        "sql": "'; DROP TABLE studies; --",
        "path": "../../../../etc/passwd",
        "json": '","state":"done","x":"',
        "astral": "\U0001f9b4\U000e0041\U0010ffff",
        "right-to-left": "عظم مكسور abc 123",
    }
)
