"""Advisories in the OSV format: which of them concern a lock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from tests.supply.lock import Pinned


def concerning(packages: Iterable[Pinned], folder: Path) -> Iterator[tuple[Pinned, str, str]]:
    """``(package, advisory's id, its summary)`` of all advisories in a folder of OSV files (``*.json``)."""
    by_name: dict[str, list[Pinned]] = {}
    for package in packages:  # a lock may hold two versions of one package, each for some interpreters
        by_name.setdefault(package.name, []).append(package)
    for file in sorted(folder.rglob("*.json")):
        advisory = json.loads(file.read_text())
        if advisory.get("withdrawn"):
            continue
        touched: dict[Pinned, None] = {}
        for affected in advisory.get("affected", []):
            named = affected.get("package", {})
            if named.get("ecosystem") == "PyPI":
                locked = by_name.get(re.sub(r"[-_.]+", "-", str(named.get("name", ""))).lower(), [])
                touched.update((package, None) for package in locked if _touches(affected, package.version))
        for package in touched:
            yield package, str(advisory["id"]), str(advisory.get("summary", ""))


def _touches(affected: dict[str, Any], version: str) -> bool:
    if version in affected.get("versions", []):
        return True
    ranges = (entry for entry in affected.get("ranges", []) if entry.get("type") == "ECOSYSTEM")
    return any(_within(entry.get("events", []), Version(version)) for entry in ranges)


def _within(events: list[dict[str, str]], version: Version) -> bool:
    inside = False
    for event in events:
        for kind, text in event.items():
            try:
                at = Version("0" if text == "0" else text)
            except InvalidVersion:
                continue
            if kind == "introduced" and version >= at:
                inside = True
            if (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
                inside = False
    return inside
