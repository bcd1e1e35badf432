"""The lock: what is installed, by name, version and hash."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One package of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]


def read_lock(file: Path) -> list[Pinned]:
    """All packages of a lock.

    Raises
    ------
    ValueError
        If a requirement is not pinned to one version.
    """
    logical = file.read_text().replace("\\\n", " ").splitlines()
    lines = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in lines:
        pinned = _PINNED.match(line)
        if pinned is None:
            raise ValueError(f"not pinned: {line[:80]}")
        name = re.sub(r"[-_.]+", "-", pinned[1]).lower()
        found.append(Pinned(name, pinned[2], tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line))))
    return found
