"""Folds for cross-fitting: whole blocks, balanced, the same every time; and what is left out of everything."""

from collections import Counter
from pathlib import Path

import pytest

from fractureai.training.datasets.folds import fold_of_block
from fractureai.training.datasets.values import Sample


def _samples() -> list[Sample]:
    return [
        Sample(Path(f"{n}.png"), f"{n}", ("hand", "leg")[n % 2], n % 7 == 0, "train", f"b{n // 8:04d}")
        for n in range(600)
    ]


def test_blocks_are_dealt_out_evenly() -> None:
    samples = _samples()
    folds = fold_of_block(samples, 3)
    assert folds == fold_of_block(samples[::-1], 3)
    for kind in {(sample.region, sample.fractured) for sample in samples}:
        counts = Counter(folds[sample.block] for sample in samples if (sample.region, sample.fractured) == kind)
        assert max(counts.values()) - min(counts.values()) <= 0.25 * sum(counts.values())


def test_one_fold_leaves_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="at least two"):
        fold_of_block(_samples(), 1)
