"""FracAtlas (Abedeen et al., Scientific Data 10, 521, 2023), as prepared for this project and as published."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

from fractureai.errors import BrokenDeployment
from fractureai.training.datasets.tables import flag, rows
from fractureai.training.datasets.values import Box, Dataset, LeftOut, Sample, Split

CITATION = (
    "Abedeen, I., Rahman, M. A., Prottyasha, F. Z., Ahmed, T., Chowdhury, T. M., Shatabda, S. FracAtlas: A Dataset for "
    "Fracture Classification, Localization and Segmentation of Musculoskeletal Radiographs. Scientific Data 10, 521 "
    "(2023). doi:10.1038/s41597-023-02432-4"
)
LICENCE = "CC BY 4.0"
REGIONS = ("elbow", "hand", "shoulder", "hip", "leg")

# No patient identifiers are published. Neighbouring numbers are often views of one patient.
_BLOCK_SIZE = 16
_VIEWS = ("frontal", "lateral", "oblique")


def read_prepared(folder: Path) -> Dataset:
    """Read ``images.csv``, ``boxes.csv`` and ``images/`` (long side 512 px, five regions, a split by blocks).

    Images whose region two readers could not agree on (``ambiguous``) are left out, and so are those of
    ``leave_out.csv``: twins, pixel by pixel, of an image in another part or of each other. ``test`` is never touched.
    """
    twins = _twins(folder / "leave_out.csv")
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in rows(folder / "boxes.csv", ("image_id", "x0_px", "y0_px", "x1_px", "y1_px")):
        x0, y0, x1, y1 = (float(row[name]) for name in ("x0_px", "y0_px", "x1_px", "y1_px"))
        boxes[row["image_id"]].append((x0, y0, x1, y1))
    samples, left_out = [], []
    for row in rows(folder / "images.csv", ("image_id", "split", "region", "fractured")):
        image_id, path = row["image_id"], folder / "images" / row["image_id"]
        if row["region"] not in REGIONS:
            left_out.append(LeftOut(image_id, f"region is {row['region']}"))
        elif row["split"] != "test" and image_id in twins:
            left_out.append(LeftOut(image_id, "a twin of another image"))
        elif not path.is_file():
            left_out.append(LeftOut(image_id, "the file is missing"))
        else:
            samples.append(
                Sample(
                    image_path=path,
                    image_id=image_id,
                    region=row["region"],
                    fractured=flag(row, "fractured"),
                    split=_split(row["split"]),
                    block=block_of(image_id),
                    boxes=tuple(boxes[image_id]),
                    tags=_tags(row),
                )
            )
    return Dataset("FracAtlas (prepared)", tuple(samples), tuple(left_out), CITATION, LICENCE)


def read_original(folder: Path) -> Dataset:
    """Read the published archive: ``dataset.csv``, ``images/{Fractured,Non_fractured}``, COCO annotations.

    The archive tags images ``hand``, ``leg``, ``hip``, ``shoulder`` or several of them (``mixed``); it does not tell
    elbows from hands. Images with several tags or none are left out. The published split covers fractured images
    only, and by image; here a block of 16 consecutive numbers goes to the split its number says, so that views of one
    patient stay together.
    """
    boxes = _coco_boxes(folder / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json")
    samples, left_out = [], []
    for row in rows(folder / "dataset.csv", ("image_id", "hand", "leg", "hip", "shoulder", "fractured")):
        image_id, fractured = row["image_id"], flag(row, "fractured")
        tagged = [name for name in ("hand", "leg", "hip", "shoulder") if flag(row, name)]
        path = folder / "images" / ("Fractured" if fractured else "Non_fractured") / image_id
        if len(tagged) != 1:
            left_out.append(LeftOut(image_id, "several regions are tagged" if tagged else "no region is tagged"))
        elif not path.is_file():
            left_out.append(LeftOut(image_id, "the file is missing"))
        else:
            samples.append(
                Sample(
                    image_path=path,
                    image_id=image_id,
                    region=tagged[0],
                    fractured=fractured,
                    split=_split_of_block(block_of(image_id)),
                    block=block_of(image_id),
                    boxes=tuple(boxes.get(image_id, ())),
                    tags=_tags(row),
                )
            )
    return Dataset("FracAtlas", tuple(samples), tuple(left_out), CITATION, LICENCE)


def published_split(folder: Path) -> dict[str, Split]:
    """The archive's own split of the fractured images (``Utilities/Fracture Split/{train,valid,test}.csv``).

    By image, so views of one patient may fall on both sides; only for comparison with published figures.
    """
    names: dict[str, Split] = {"train": "train", "valid": "val", "test": "test"}
    parts = folder / "Utilities" / "Fracture Split"
    return {
        row["image_id"]: split
        for name, split in names.items()
        if (parts / f"{name}.csv").is_file()
        for row in rows(parts / f"{name}.csv", ("image_id",))
    }


def block_of(image_id: str) -> str:
    """``IMG0000019.jpg`` → ``b0001``: the block of 16 consecutive numbers an image belongs to."""
    digits = re.search(r"\d+", image_id)
    if digits is None:
        raise BrokenDeployment(f"{image_id} holds no number, so its block is unknown")
    return f"b{int(digits.group()) // _BLOCK_SIZE:04d}"


def _twins(path: Path) -> frozenset[str]:
    """The images that are not to be learnt from; none without the table."""
    return frozenset(row["image_id"] for row in rows(path, ("image_id",))) if path.is_file() else frozenset()


def _split_of_block(block: str) -> Split:
    """Every tenth block to validation, three in twenty to test; fixed, so that runs can be compared."""
    place = int(block[1:]) * 7 % 20
    if place < 3:
        return "test"
    return "val" if place < 5 else "train"


def _split(name: str) -> Split:
    if name not in ("train", "val", "test"):
        raise BrokenDeployment(f"unknown split {name!r}")
    return name  # type: ignore[return-value]


def _tags(row: dict[str, str]) -> dict[str, str]:
    views = [view for view in _VIEWS if row.get(view) == "1"]
    return {
        "view": "+".join(views) or "untold",
        "hardware": "yes" if row.get("hardware") == "1" else "no",
        "multiscan": "yes" if row.get("multiscan") == "1" else "no",
    }


def _coco_boxes(path: Path) -> dict[str, list[Box]]:
    """Boxes by file name. COCO gives ``x y width height`` (cocodataset.org, format of detection results)."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in data["images"]}
        boxes: dict[str, list[Box]] = defaultdict(list)
        for item in data["annotations"]:
            x, y, width, height = item["bbox"]
            if width > 0 and height > 0:
                boxes[names[item["image_id"]]].append((x, y, x + width, y + height))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenDeployment(f"{path} is not a readable COCO file: {error!r}") from error
    return boxes
