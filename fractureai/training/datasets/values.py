"""What a dataset is: samples with their labels, and a record of what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled radiograph.

    Attributes
    ----------
    image_path:
        Where the pixels are; read them with :func:`fractureai.training.datasets.pixels.read_grey`.
    image_id:
        Unique in its dataset.
    region:
        ``elbow``, ``hand``, …; as the dataset says it, after the dataset's own table of names.
    fractured:
        The label. For MURA it means *abnormal*, of which fractures are a part.
    boxes:
        ``x0 y0 x1 y1`` of each labelled fracture, px of the file, origin at the outer top-left corner.
    block:
        Images that may show the same patient share it. Splits, folds and bootstraps keep blocks whole.
    study, patient:
        Identifiers where the dataset has them, else ``None``.
    tags:
        Anything else worth breaking results down by: ``view``, ``hardware``.
    """

    image_path: Path
    image_id: str
    region: str
    fractured: bool
    split: Split
    block: str
    boxes: tuple[Box, ...] = ()
    study: str | None = None
    patient: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {self.split!r}")
        if not self.block:
            raise ValueError(f"{self.image_id} has no block")
        if any(x1 <= x0 or y1 <= y0 for x0, y0, x1, y1 in self.boxes):
            raise ValueError(f"{self.image_id} has an empty box: {self.boxes}")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is in the dataset but not among the samples."""

    image_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples in the dataset's own order, with what is needed to cite it."""

    name: str
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...] = ()
    citation: str = ""
    licence: str = ""
    label: str = "fracture"

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(sample.image_id for sample in self.samples).items() if count > 1]
        if repeated:
            raise ValueError(f"{self.name}: image ids occur more than once: {repeated[:5]}")
        leaking = _blocks_in_several_splits(self.samples)
        if leaking:
            raise ValueError(f"{self.name}: blocks occur in more than one split: {leaking[:5]}")

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that occur, sorted."""
        return tuple(sorted({sample.region for sample in self.samples}))

    def only(self, keep: Callable[[Sample], bool]) -> Dataset:
        """The dataset with only the samples for which ``keep`` holds; the others are not listed as left out."""
        return replace(self, samples=tuple(sample for sample in self.samples if keep(sample)))

    def spread(self, count: int) -> Dataset:
        """At most about so many of the samples, evenly over their order; none for 0."""
        step = max(1, round(len(self.samples) / count)) if count else 1
        return replace(self, samples=self.samples[::step] if count else ())

    def split(self, *splits: Split) -> Dataset:
        """Only these splits."""
        return self.only(lambda sample: sample.split in splits)

    def region(self, name: str) -> Dataset:
        """Only this region."""
        return self.only(lambda sample: sample.region == name)

    def renamed(self, regions: Mapping[str, str]) -> Dataset:
        """The dataset with regions renamed by a table; those not in it keep their names."""
        changed = (replace(sample, region=regions.get(sample.region, sample.region)) for sample in self.samples)
        return replace(self, samples=tuple(changed))

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """``counts()[region][split]`` is ``{"normal": n, "fractured": m}``; splits without samples are absent."""
        table: dict[str, dict[str, dict[str, int]]] = {}
        for sample in sorted(self.samples, key=lambda sample: (sample.region, SPLITS.index(sample.split))):
            cell = table.setdefault(sample.region, {}).setdefault(sample.split, {"normal": 0, "fractured": 0})
            cell["fractured" if sample.fractured else "normal"] += 1
        return table

    def left_out_counts(self) -> dict[str, int]:
        """How many images were left out for each reason, most frequent first."""
        return dict(Counter(item.reason for item in self.left_out).most_common())


def _blocks_in_several_splits(samples: tuple[Sample, ...]) -> list[str]:
    seen: dict[str, Split] = {}
    return sorted({sample.block for sample in samples if seen.setdefault(sample.block, sample.split) != sample.split})
