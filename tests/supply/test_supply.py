"""What we depend on: locked, hashed, listed, held against advisories; no pickle; every remark of bandit argued."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fractureai.tasks.app import QueueSettings, create_app
from tests.supply.__main__ import audit_folder, audit_online, write_sbom
from tests.supply.advisories import concerning
from tests.supply.lock import REQUIREMENTS, Pinned, read_lock
from tests.supply.vendored import ARGUED

pytestmark = pytest.mark.timeout(300)

_ROOT = REQUIREMENTS.parent
_LOCKS = sorted(REQUIREMENTS.glob("*.lock"))

# Why each kind of remark stands. Anything else, or one of these in another file, fails the test.
_ARGUED: dict[str, tuple[str, set[str]]] = {
    "B101": ("an assertion for the type checker, never a check of input", {
        "fractureai/inference/registry.py", "fractureai/reports/figures.py", "fractureai/training/datasets/mura.py",
    }),
    "B104": ("compared with, never bound to", {"fractureai/embedded/service.py"}),
    "B108": ("a place the child may read, not one where anything is written", {"fractureai/imaging/confinement.py"}),
    "B403": ("pickletools takes a file of weights apart into opcodes, and loads nothing", {
        "fractureai/training/torch_file.py",
    }),
    "B404": ("the interpreter, a compiler or git, never a shell", {
        "fractureai/embedded/guardian.py",
        "fractureai/embedded/service.py", "fractureai/imaging/process.py", "fractureai/training/native/kernels.py",
        "fractureai/training/runs.py",
    }),
    "B405": ("XML is written, none is parsed", {"fractureai/access/syslog.py", "fractureai/web/dicomweb_response.py"}),
    "B411": ("our own supervisord, over a socket that only its owner may open", {"fractureai/embedded/supervision.py"}),
    "B603": ("fixed commands; nothing of a request or a file is in them", {
        "fractureai/embedded/guardian.py",
        "fractureai/embedded/service.py", "fractureai/imaging/process.py", "fractureai/training/native/kernels.py",
        "fractureai/training/runs.py",
    }),
    "B606": ("our own interpreter takes this process over, without a shell", {
        "fractureai/commands/web.py", "fractureai/commands/worker.py",
    }),
    "B607": ("a developer's own g++ and git, in training only", {
        "fractureai/training/native/kernels.py", "fractureai/training/runs.py",
    }),
}  # fmt: skip


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_pinned_and_hashed_and_names_no_host(lock: Path) -> None:
    packages = read_lock(lock)
    assert len(packages) > 20
    assert [package.name for package in packages if not package.hashes] == []
    text = lock.read_text()
    assert not re.search(r"://|^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.M)


def test_the_bill_of_materials_lists_the_lock(tmp_path: Path) -> None:
    one = tmp_path / "sbom.json"
    assert write_sbom(REQUIREMENTS / "serve.lock", one) == 0
    bill = json.loads(one.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "fractureai")
    listed = {(re.sub(r"[-_.]+", "-", entry["name"]).lower(), entry["version"]) for entry in bill["components"]}
    assert {(package.name, package.version) for package in read_lock(REQUIREMENTS / "serve.lock")} == listed


@pytest.mark.parametrize(
    ("events", "concerned"),
    [
        ([{"introduced": "0"}, {"fixed": "1.2.3"}], False),
        ([{"introduced": "0"}, {"fixed": "1.2.4"}], True),
        ([{"introduced": "2"}], False),
        ([{"introduced": "1"}, {"last_affected": "1.2.3"}], True),
        ([{"introduced": "1"}, {"fixed": "1.1"}, {"introduced": "1.2"}], True),
    ],
)
def test_advisories_on_disk_are_matched(tmp_path: Path, events: list[dict[str, str]], *, concerned: bool) -> None:
    package = {"ecosystem": "PyPI", "name": "Some_Thing"}
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    (tmp_path / "PYSEC-1.json").write_text(json.dumps({"id": "PYSEC-1", "affected": [affected]}))
    found = list(concerning([Pinned("some-thing", "1.2.3", ())], tmp_path))
    assert [advisory for _, advisory, _ in found] == (["PYSEC-1"] if concerned else [])


def test_each_of_two_locked_versions_is_held_against_advisories(tmp_path: Path) -> None:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}]
    affected = {"package": {"ecosystem": "PyPI", "name": "some-thing"}, "ranges": ranges}
    (tmp_path / "PYSEC-1.json").write_text(json.dumps({"id": "PYSEC-1", "affected": [affected, affected]}))
    two = [Pinned("some-thing", version, ()) for version in ("1.9", "2.0")]
    for packages in (two, two[::-1]):
        assert [package.version for package, _, _ in concerning(packages, tmp_path)] == ["1.9"]


def test_an_audit_of_nothing_says_that_it_cannot_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit_folder(REQUIREMENTS / "serve.lock", tmp_path) == 3
    assert "no advisory" in capsys.readouterr().err


def _asked(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """pip-audit answers this; the network is nobody's in a test."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "pip_audit"]
        return subprocess.CompletedProcess(command, 1, told, "")

    monkeypatch.setattr("tests.supply.__main__.subprocess.run", run)


def test_an_audit_without_the_network_says_that_it_cannot_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for told in ("", "no JSON", "{}", '{"dependencies": [{"name": "x", "skip_reason": "not found"}]}'):
        _asked(monkeypatch, told)
        assert audit_online(REQUIREMENTS / "serve.lock") == 3
        said = capsys.readouterr()
        assert said.out == ""
        assert "Not audited" in said.err
        assert "--advisories FOLDER" in said.err


@pytest.mark.parametrize("known", [False, True])
def test_what_the_public_database_knows_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, known: bool
) -> None:
    lock = REQUIREMENTS / "serve.lock"
    listed = [{"name": package.name, "version": package.version, "vulns": []} for package in read_lock(lock)]
    if known:
        listed[0]["vulns"] = [{"id": "PYSEC-1", "fix_versions": ["9.9"]}]  # type: ignore[assignment]
    _asked(monkeypatch, json.dumps({"dependencies": listed}))
    assert audit_online(lock) == int(known)
    said = capsys.readouterr().out
    assert f"{int(known)} of {len(listed)} packages have known vulnerabilities that are not argued." in said
    assert ("PYSEC-1, mended in 9.9" in said) is known


def test_what_is_argued_is_told_and_no_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = REQUIREMENTS / "serve.lock"
    listed = [{"name": package.name, "version": package.version, "vulns": []} for package in read_lock(lock)]
    (package, version, advisory), why = next((key, why) for key, why in ARGUED.items() if key[0] == "pynetdicom")
    (entry,) = [entry for entry in listed if (entry["name"], entry["version"]) == (package, version)]
    entry["vulns"] = [{"id": "PYSEC-1", "aliases": [advisory], "fix_versions": []}]  # type: ignore[assignment]
    _asked(monkeypatch, json.dumps({"dependencies": listed}))
    assert audit_online(lock) == 0
    assert f"PYSEC-1, mended in nothing yet Argued: {why}." in capsys.readouterr().out


def test_every_remark_of_bandit_is_argued() -> None:
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "fractureai", "--format", "json"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=280)
    remarks = json.loads(done.stdout)
    assert remarks["errors"] == []
    found = {(remark["test_id"], remark["filename"].removeprefix("./")) for remark in remarks["results"]}
    assert sorted(found - {(kind, file) for kind, (_, files) in _ARGUED.items() for file in files}) == []


_PICKLES = re.compile(
    r"^\s*(import|from) (pickle|dill|joblib|shelve|marshal)\b|allow_pickle=True|\btorch\.load\((?!.*weights_only=True)",
    re.MULTILINE,
)


def test_no_source_of_ours_loads_pickles() -> None:
    files = (_ROOT / "fractureai").rglob("*.py")
    assert [str(file.relative_to(_ROOT)) for file in files if _PICKLES.search(file.read_text())] == []
    assert _PICKLES.search("import os\nimport pickle\n")


def test_messages_are_json_and_nothing_else() -> None:
    settings = create_app(QueueSettings("redis://localhost", "test:", 180, 900)).conf
    assert settings.task_serializer == settings.result_serializer == settings.event_serializer == "json"
    assert list(settings.accept_content) == ["json"]


_WATCHED = """
import sys
sys.addaudithook(lambda event, args: event == "pickle.find_class" and sys.exit(f"a pickle was loaded: {args}"))
from fractureai.cli import main
main()
"""


def test_no_pickle_is_loaded_while_a_radiograph_is_read(tmp_path: Path) -> None:
    from tests.bad_files import phantom_dicom

    (tmp_path / "hand.dcm").write_bytes(phantom_dicom())
    command = [sys.executable, "-c", _WATCHED, "analyze", str(tmp_path / "hand.dcm"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert "a pickle was loaded" not in done.stderr
    assert json.loads(done.stdout)["state"] == "done", done.stderr


def test_the_watch_sees_pickles() -> None:
    load = "import pickle, collections\npickle.loads(pickle.dumps(collections.OrderedDict()))"
    code = _WATCHED.split("from fractureai")[0] + load
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "a pickle was loaded" in done.stderr
