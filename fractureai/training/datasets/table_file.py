"""A hospital's own data: one CSV file that says which image is what."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

from fractureai.errors import BrokenDeployment
from fractureai.training.datasets.tables import flag, rows
from fractureai.training.datasets.values import SPLITS, Box, Dataset, LeftOut, Sample, Split

_REQUIRED = ("file", "region", "fractured")
_KNOWN = frozenset({*_REQUIRED, "image_id", "split", "study", "patient", "block"})
_VAL_PERCENT, _TEST_PERCENT = 15, 15


def read_table(path: Path) -> Dataset:
    """Read a CSV file with the columns ``file, region, fractured`` and, where known, more.

    ``file`` is relative to the CSV file. ``fractured`` is 1 or 0 (or yes/no, positive/negative). Optional:
    ``image_id`` (default: ``file``), ``study``, ``patient``, ``split`` (train, val or test; default: 70/15/15 by a hash
    of the patient), and any further column, by which results are then broken down (``view``, ``hardware``, ``device``).
    Boxes come from ``boxes.csv`` beside it: ``image_id, x0_px, y0_px, x1_px, y1_px``.

    A patient is never split. Where no patient is given the study stands for it, and where no study is given the
    image: then intervals are too narrow if a patient has several images, so give patients.
    """
    boxes = _boxes(path.parent / "boxes.csv")
    samples, left_out = [], []
    for number, row in enumerate(rows(path, _REQUIRED), start=2):
        image_id = row.get("image_id") or row["file"] or f"line {number}"
        try:
            samples.append(_sample(path.parent, image_id, row, boxes))
        except ValueError as error:
            left_out.append(LeftOut(image_id, str(error)))
    repeated = {name for name, count in Counter(sample.image_id for sample in samples).items() if count > 1}
    left_out += [LeftOut(name, "listed more than once") for name in sorted(repeated)]
    split_of: dict[str, str] = {}
    for sample in samples:
        if split_of.setdefault(sample.block, sample.split) != sample.split:
            raise BrokenDeployment(f"{path}: patient {sample.block!r} is in several splits; put each into one")
    kept = tuple(sample for sample in samples if sample.image_id not in repeated)
    return Dataset(path.parent.name, kept, tuple(left_out))


def _sample(folder: Path, image_id: str, row: dict[str, str], boxes: dict[str, list[Box]]) -> Sample:
    image = folder / row["file"]
    if not row["file"] or not image.is_file():
        raise ValueError("the file is missing")
    if not row["region"]:
        raise ValueError("no region is given")
    if not row["fractured"]:
        raise ValueError("no label is given")
    block = row.get("block") or row.get("patient") or row.get("study") or image_id
    return Sample(
        image_path=image,
        image_id=image_id,
        region=row["region"].lower(),
        fractured=flag(row, "fractured"),
        split=_split(row.get("split", ""), block),
        block=block,
        boxes=tuple(boxes.get(image_id, ())),
        study=row.get("study") or None,
        patient=row.get("patient") or None,
        tags={name: value for name, value in row.items() if name not in _KNOWN and value},
    )


def _split(given: str, block: str) -> Split:
    if given:
        if given not in SPLITS:
            raise ValueError(f"split is {given!r}, not one of {', '.join(SPLITS)}")
        return given  # type: ignore[return-value]
    place = int.from_bytes(hashlib.sha256(block.encode()).digest()[:4], "big") % 100
    if place < _TEST_PERCENT:
        return "test"
    return "val" if place < _TEST_PERCENT + _VAL_PERCENT else "train"


def _boxes(path: Path) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    if path.is_file():
        columns = ("x0_px", "y0_px", "x1_px", "y1_px")
        for row in rows(path, ("image_id", *columns)):
            x0, y0, x1, y1 = (float(row[name]) for name in columns)
            boxes[row["image_id"]].append((x0, y0, x1, y1))
    return boxes
