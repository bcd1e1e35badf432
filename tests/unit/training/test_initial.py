"""Weights to start from: which files are read, which heads are known, what is told when something is amiss."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from fractureai.errors import BrokenDeployment
from fractureai.training.initial import read_initial


def _write(path: Path, columns: int, backbone: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["top_conv/kernel"] = np.full((1, 1, 2, 3), backbone, np.float16)
        file["head/kernel"] = np.arange(3 * columns, dtype=np.float32).reshape(3, columns)
        file["head/bias"] = np.arange(columns, dtype=np.float32)
    return path


def test_packaged_models_are_read_by_their_classes(tmp_path: Path) -> None:
    _write(tmp_path / "region" / "weights.h5", 2)
    _write(tmp_path / "fracture-hand" / "weights.h5", 1)
    (tmp_path / "region" / "card.json").write_text(json.dumps({"classes": ["elbow", "hand"]}))
    initial = read_initial(tmp_path, ("hand", "wrist"))
    assert list(initial.region) == ["hand"]
    assert initial.region["hand"].weights.tolist() == [1, 3, 5]
    assert initial.region["hand"].bias == 1
    assert list(initial.fracture) == ["hand"]
    assert initial.get("top_conv/kernel", (1, 1, 2, 3)).dtype == np.float32


def test_a_run_folder_has_the_regions_of_its_data(tmp_path: Path) -> None:
    _write(tmp_path / "region.h5", 2)
    assert list(read_initial(tmp_path, ("elbow", "hand")).region) == ["elbow", "hand"]


def test_a_single_file_gives_no_heads(tmp_path: Path) -> None:
    initial = read_initial(_write(tmp_path / "region.h5", 2), ("elbow", "hand"))
    assert (initial.region, initial.fracture) == ({}, {})


def test_what_cannot_be_started_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokenDeployment, match=r"neither region/weights\.h5 nor region\.h5"):
        read_initial(tmp_path, ("elbow",))
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"no weights")
    with pytest.raises(BrokenDeployment, match="cannot be read"):
        read_initial(damaged, ("elbow",))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense/kernel"] = np.zeros(3)
    with pytest.raises(BrokenDeployment, match="has no top_conv/kernel"):
        read_initial(tmp_path / "other.h5", ("elbow",))
    initial = read_initial(_write(tmp_path / "small.h5", 1), ("elbow",))
    with pytest.raises(BrokenDeployment, match="the network needs"):
        initial.get("top_conv/kernel", (1, 1, 320, 1280))
    with pytest.raises(BrokenDeployment, match="have no stem_conv/kernel"):
        initial.get("stem_conv/kernel", (3, 3, 3, 32))


def test_models_with_different_backbones_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "region.h5", 1)
    _write(tmp_path / "fracture-elbow.h5", 1, backbone=2.0)
    with pytest.raises(BrokenDeployment, match="do not share one backbone"):
        read_initial(tmp_path, ("elbow",))
