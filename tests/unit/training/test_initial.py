"""Weights to start from: which files are read, what their head means, what is told when something is amiss."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from fractureai.errors import BrokenDeployment
from fractureai.training.initial import read_initial


def _write(path: Path, columns: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["top_conv/kernel"] = np.full((1, 1, 2, 3), 1.0, np.float16)
        file["head/kernel"] = np.arange(3 * columns, dtype=np.float32).reshape(3, columns)
        file["head/bias"] = np.arange(columns, dtype=np.float32)
    return path


def test_a_packaged_network_names_its_outputs(tmp_path: Path) -> None:
    _write(tmp_path / "weights.h5", 2)
    (tmp_path / "network.json").write_text(json.dumps({"outputs": ["region elbow", "region hand"]}))
    initial = read_initial(str(tmp_path), tmp_path / "run")
    assert initial is not None
    assert initial.outputs == ("region elbow", "region hand")
    assert initial.head[0].shape == (3, 2)
    assert initial.get("top_conv/kernel", (1, 1, 2, 3)).dtype == np.float32


def test_a_run_folder_names_its_outputs(tmp_path: Path) -> None:
    _write(tmp_path / "weights.h5", 2)
    (tmp_path / "config.json").write_text(json.dumps({"settings": {"outputs": ["region elbow", "region hand"]}}))
    initial = read_initial(str(tmp_path), tmp_path / "run")
    assert initial is not None
    assert initial.outputs == ("region elbow", "region hand")


def test_a_single_file_gives_a_head_without_names(tmp_path: Path) -> None:
    initial = read_initial(str(_write(tmp_path / "other.h5", 2)), tmp_path)
    assert initial is not None
    assert initial.outputs == ()


def test_from_scratch_there_is_nothing(tmp_path: Path) -> None:
    assert read_initial("none", tmp_path) is None


def test_what_cannot_be_started_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokenDeployment, match="Give --init none"):
        read_initial(str(tmp_path / "nowhere"), tmp_path)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"no weights")
    with pytest.raises(BrokenDeployment, match="cannot be read"):
        read_initial(str(damaged), tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense/kernel"] = np.zeros(3)
    with pytest.raises(BrokenDeployment, match="has no top_conv/kernel"):
        read_initial(str(tmp_path / "other.h5"), tmp_path)
    initial = read_initial(str(_write(tmp_path / "small.h5", 1)), tmp_path)
    assert initial is not None
    with pytest.raises(BrokenDeployment, match="the network needs"):
        initial.get("top_conv/kernel", (1, 1, 320, 1280))
    with pytest.raises(BrokenDeployment, match="have no stem_conv/kernel"):
        initial.get("stem_conv/kernel", (3, 3, 3, 32))
