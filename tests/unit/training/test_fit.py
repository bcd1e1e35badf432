"""Training end to end on a tiny tree, and going on after a kill."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from fractureai.errors import BrokenDeployment
from fractureai.training import fit, runs
from fractureai.training.augment import Recipe
from fractureai.training.pictures import Picture, picture
from fractureai.training.train_commands import train

# Keras on TensorFlow converts its tensors in a way that numpy 2 warns of.
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `.*` layer|Your `PyDataset`|Even though the `tf.config:UserWarning"),
]


COMMON = [
    "--height",
    "32",
    "--width",
    "32",
    "--init",
    "none",
    "--epochs",
    "1",
    "--steps",
    "1",
    "--batch-size",
    "4",
    "--phantoms",
    "0",
]


def _tree(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["file,region,fractured,split,patient"]
    for number in range(16):
        region, split = ("hand", "elbow")[number % 2], ("train", "val")[number // 2 % 2]
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (40, 30), np.uint8))
        lines.append(f"{number}.png,{region},{number // 4 % 2},{split},p{number}")
    (folder / "samples.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _pictures(count: int) -> list[Picture]:
    rng = np.random.default_rng(1)
    return [picture(rng.integers(0, 255, (40, 30), np.uint8), 0, fractured=bool(n % 2)) for n in range(count)]


def test_the_command_leaves_a_whole_run_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["fracture", "--region", "hand", "--data", str(_tree(tmp_path)), "--out", str(out), "--quiet", *COMMON]
    result = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for name in (runs.CONFIG, runs.LOG, runs.CURVES, runs.WEIGHTS):
        assert (out / name).stat().st_size > 0


class _Killed(Exception):
    pass


def test_a_killed_run_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(32, 32, 32, 32)
    schedule = fit.Schedule(frozen_epochs=0, epochs=3, steps=1, batch_size=4)
    run = runs.RunFolder(tmp_path / "run", fit.settings(recipe, schedule))
    task, scored = fit.fracture_task(), []

    def score(logits: np.ndarray, batch: fit.Batch) -> float:
        scored.append(len(logits))
        if len(scored) == 2:
            raise _Killed
        return task.score(logits, batch)

    arguments = (replace(task, score=score), _pictures(8), _pictures(6), recipe, schedule, run)
    with pytest.raises(_Killed):
        fit.train(*arguments, verbose=0)
    assert [row["epoch"] for row in run.rows()] == ["0"]
    fit.train(*arguments, verbose=0)
    assert [row["epoch"] for row in run.rows()] == ["0", "1", "2"]
    assert (run.path / runs.WEIGHTS).is_file()


def test_a_start_that_does_not_exist_is_told(tmp_path: Path) -> None:
    arguments = ["region", "--data", str(_tree(tmp_path)), "--out", str(tmp_path / "run"), "--init", "nowhere"]
    with pytest.raises(BrokenDeployment, match="no weights at nowhere to start from"):
        CliRunner().invoke(train, arguments, catch_exceptions=False)


def test_the_shared_training_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    arguments = ["shared", "--data", str(_tree(tmp_path)), "--out", str(tmp_path / "run")]
    with pytest.raises(BrokenDeployment, match="train-native"):
        CliRunner().invoke(train, arguments, catch_exceptions=False)


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    runs.RunFolder(tmp_path, {"seed": 1})
    with pytest.raises(BrokenDeployment, match="seed"):
        runs.RunFolder(tmp_path, {"seed": 2})
