"""Weights out of a file of PyTorch: nothing in it is run, and what is no such file is told."""

import os
import pickle
from pathlib import Path

import pytest

from fractureai.training.torch_file import read_arrays


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_would_run_something_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"".join(pickle.dumps(_Hostile(tmp_path / "made"), 2) for _ in range(5)))
    with pytest.raises(ValueError, match="mkdir is not part of a file of weights"):
        read_arrays(file)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a newer one", pickle.dumps(3, 2) * 5])
def test_another_kind_of_file_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(data)
    with pytest.raises(ValueError, match="no file of weights"):
        read_arrays(tmp_path / "weights.pth")
