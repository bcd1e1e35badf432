"""What is installed: the package and all it needs to serve, nothing else; and that it works where nothing else is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from fractureai.domain.card import ModelCard, NetworkCard, parse_card, serving_files
from tests.bad_files import phantom_dicom

_ROOT = Path(__file__).resolve().parents[2]
_MODELS = _ROOT / "models"
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def travels() -> dict[str, set[str]]:
    """The files of wheel and sdist, by their places in them."""
    return {
        builder.PLUGIN_NAME: {file.distribution_path for file in builder(str(_ROOT)).recurse_included_files()}
        for builder in (WheelBuilder, SdistBuilder)
    }


@pytest.mark.parametrize(("kind", "place"), [("wheel", "fractureai/models"), ("sdist", "models")])
def test_every_file_that_a_card_names_travels_but_for_weights_to_train_on_from(
    travels: dict[str, set[str]], kind: str, place: str
) -> None:
    cards = {
        path: parse_card(path.read_bytes(), card_kind)[0].files
        for card_file, card_kind in (("card.json", ModelCard), ("network.json", NetworkCard))
        for path in _MODELS.glob(f"*/{card_file}")
    }
    assert len(cards) >= 7
    named = {
        f"{place}/{path.parent.name}/{file}"
        for path, files in cards.items()
        for file in (*serving_files(files), path.name)
    }
    assert named <= travels[kind]
    trained = {f"{place}/{path.parent.name}/{file}" for path, files in cards.items() for file in files} - named
    assert trained, "weights to train on from are named, too"
    assert not trained & travels[kind]
    others = {path for path in travels[kind] if path.startswith(place)} - named
    assert {Path(path).suffix for path in others} <= {".md"}


def test_the_wheel_holds_one_package_and_nothing_that_is_compiled_or_plotted(travels: dict[str, set[str]]) -> None:
    assert {path.split("/")[0] for path in travels["wheel"]} == {"fractureai"}
    assert {"fractureai/py.typed", "fractureai/web/templates/base.html"} <= travels["wheel"]
    assert not [path for path in travels["wheel"] if re.search(r"\.(cpp|h|h5)$|/plots/|/native/|__pycache__", path)]


def test_the_version_is_said_once() -> None:
    overlay = (_ROOT / "deploy/kubernetes/overlays/example/kustomization.yaml").read_text()
    dockerfile = (_ROOT / "workers/Dockerfile").read_text()
    said = re.findall(r"newTag: (.*)", overlay) + re.findall(r"VERSION=(\d[^ ]*) --build-arg REVISION", dockerfile)
    assert said == [_PROJECT["version"]] * 2


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment: the wheel, built from the sdist, over this environment's other packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source = _small_tree(folder / "source")
    _run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=source)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    _run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=unpacked)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    options = ("--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    (own,) = environment.glob("lib/python*/site-packages")
    # A line of a .pth is a folder to look in; that folder's own .pth, and so the repository, is not followed.
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for built in (source, unpacked):
        shutil.rmtree(built)
    return python.parent


def _small_tree(target: Path) -> Path:
    """The repository with two models: what is packed differs in size only."""
    left_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        target.mkdir(exist_ok=True)
        shutil.copy(_ROOT / name, target)
    for name in (
        "fractureai",
        "workers",
        "docs",
        "requirements",
        "models/limbs",
        "models/region",
        "models/fracture-hand",
    ):
        shutil.copytree(_ROOT / name, target / name, ignore=left_out)
    return target


def _run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*map(str, words)], cwd=cwd or "/", capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_an_installed_wheel_reads_a_radiograph_and_knows_where_its_parts_are(installed: Path, tmp_path: Path) -> None:
    program = installed / "fractureai"
    (tmp_path / "hand.dcm").write_bytes(phantom_dicom())
    found = json.loads(_run(program, "analyze", tmp_path / "hand.dcm", "--json", cwd=tmp_path).stdout)
    assert (found["state"], found["models"].keys()) == ("done", {"region", "fracture-hand"})
    assert _run(program, "--version").stdout.strip().endswith(_PROJECT["version"])
    assert _run(program, "models", "verify").stdout.count("as its card says") == 2
    place = "import fractureai.shipped as s; print(s.shipped_models(), s.__file__)"
    models, code = _run(installed / "python", "-c", place).stdout.split()
    assert models.endswith("site-packages/fractureai/models")
    assert not code.startswith(str(_ROOT))


def test_what_is_not_installed_is_said(installed: Path, tmp_path: Path) -> None:
    command = [installed / "fractureai", "train", "shared", "--data", tmp_path, "--out", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert done.returncode == 3
    assert "Train from a checkout" in done.stderr
    assert done.stderr.count("\n") == 1
