"""Folds for cross-fitting: every block of images in one of them, regions and labels in like shares."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

from fractureai.training.datasets.values import Dataset, Sample


def fold_of_block(samples: Iterable[Sample], folds: int) -> dict[str, int]:
    """The fold of each block, 0 to ``folds`` - 1; the same for the same samples.

    Blocks with many fractures are dealt out first, each to the fold that it makes least unlike the others.
    """
    if folds < 2:
        raise ValueError(f"cross-fitting needs at least two folds, got {folds}")
    blocks: dict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
    for sample in samples:
        blocks[sample.block][sample.region, sample.fractured] += 1
    held: list[Counter[tuple[str, bool]]] = [Counter() for _ in range(folds)]
    dealt: dict[str, int] = {}
    for block in sorted(blocks, key=lambda name: (-_fractured(blocks[name]), _shuffled(name))):
        own = blocks[block]
        totals = sum(held, own)
        # What the sum of squared shares grows by, if the block goes there.
        costs = [
            sum(((fold[kind] + count) ** 2 - fold[kind] ** 2) / totals[kind] ** 2 for kind, count in own.items())
            for fold in held
        ]
        dealt[block] = costs.index(min(costs))
        held[dealt[block]] += own
    return dealt


def unseen_parts(dataset: Dataset, folders: Sequence[Path], folds: int | None = None) -> list[tuple[Path, Dataset]]:
    """For models that were each trained without one fold, the images they have not learnt from.

    ``folders`` are in the order of the folds, the first ones if there are fewer than ``folds``.
    """
    fold_of = fold_of_block(dataset.samples, folds or len(folders))
    return [
        (folder, dataset.only(lambda sample, number=number: fold_of[sample.block] == number))
        for number, folder in enumerate(folders)
    ]


def _shuffled(block: str) -> int:
    """An order that has nothing to do with the block's place; leading letters and zeros of its name do not matter."""
    return crc32((block.lstrip("b0") or "0").encode())


def _fractured(counts: Counter[tuple[str, bool]]) -> int:
    return sum(count for (_, fractured), count in counts.items() if fractured)
