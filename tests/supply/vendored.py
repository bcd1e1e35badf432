"""The advisories kept in the repository: what the locks are held against where nobody can be asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tests.supply.advisories import concerning
from tests.supply.lock import Pinned

KNOWN = Path(__file__).with_name("known")

# Why a locked version stays although an advisory concerns it: (package, version, advisory). The version is part of it,
# so that a move of the lock asks the question anew; an argument that concerns nothing any more fails the test.
ARGUED: dict[tuple[str, str, str], str] = {
    ("joblib", "1.6.0", "PYSEC-2024-277"): "nothing of ours imports it: scikit-learn does, and stores nothing with it",
    ("keras", "3.15.1", "PYSEC-2025-121"): "training only, where Keras fetches one file held to a hash, no archive",
    ("pynetdicom", "3.0.4", "CVE-2026-56445"): "a program beside the library, which we neither import nor start",
}


def argument(package: str, version: str, names: Iterable[str]) -> str | None:
    """Why this version stays although an advisory of these names concerns it; ``None``: nobody has said."""
    return next((why for name in names if (why := ARGUED.get((package, version, name)))), None)


def concerned(packages: Iterable[Pinned]) -> tuple[list[str], list[str]]:
    """What the kept advisories say of a lock, one line each: unargued, and argued in ``ARGUED``."""
    unargued, argued = [], []
    for package, advisory, summary in concerning(packages, KNOWN):
        line = f"{package.name} {package.version}: {advisory} {summary}"
        why = argument(package.name, package.version, [advisory])
        if why is None:
            unargued.append(line)
        else:
            argued.append(f"{line} Argued: {why}.")
    return unargued, argued


def extent() -> str:
    """How much the list holds and how old it is, since neither is to be mistaken for everything or for today."""
    advisories = [json.loads(file.read_text()) for file in KNOWN.glob("*.json")]
    packages = {affected["package"]["name"] for advisory in advisories for affected in advisory["affected"]}
    newest = max(str(advisory["modified"])[:10] for advisory in advisories)
    return f"{len(advisories)} advisories on {len(packages)} packages, last added to on {newest}"
