"""Which kind of dataset lies in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fractureai.errors import BrokenDeployment
from fractureai.training.datasets.fracatlas import read_original, read_prepared
from fractureai.training.datasets.mura import read_mura
from fractureai.training.datasets.table_file import read_table
from fractureai.training.datasets.values import Dataset


def _is_mura(folder: Path) -> bool:
    return any(any((folder / part).glob("XR_*")) for part in ("train", "valid"))


# The first layout that fits is taken.
_LAYOUTS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path], Dataset]], ...] = (
    ("FracAtlas, prepared (images.csv and boxes.csv)", lambda at: (at / "images.csv").is_file(), read_prepared),
    ("FracAtlas, as published (dataset.csv)", lambda at: (at / "dataset.csv").is_file(), read_original),
    ("MURA (train/XR_… or valid/XR_…)", _is_mura, read_mura),
    ("a table (samples.csv)", lambda at: (at / "samples.csv").is_file(), lambda at: read_table(at / "samples.csv")),
)


def open_dataset(path: Path) -> Dataset:
    """Read the dataset at ``path``, whatever its layout: a folder, or a CSV file.

    Raises
    ------
    BrokenDeployment
        If no layout fits, or not one image could be used; the message says what was looked for.
    """
    if path.is_file():
        dataset = read_table(path)
    else:
        reader = next((read for _, fits, read in _LAYOUTS if fits(path)), None)
        if reader is None:
            looked_for = "; ".join(name for name, _, _ in _LAYOUTS)
            raise BrokenDeployment(f"there is no dataset in {path}. Looked for: {looked_for}; or name a CSV file")
        dataset = reader(path)
    if not dataset.samples:
        raise BrokenDeployment(f"{path} holds no image that can be used: {dataset.left_out_counts()}")
    return dataset
