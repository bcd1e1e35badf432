"""What is sent, and in which portions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import open_scope
from bench.rounds import shares
from bench.workload import HEIGHT_PX, WIDTH_PX, mixed_specs
from fractureai.phantoms.render import REGIONS


def test_the_mix_is_even_and_fixed_by_the_seed() -> None:
    specs = mixed_specs(20, seed=3)
    assert specs == mixed_specs(20, seed=3)
    assert specs != mixed_specs(20, seed=4)
    assert len({spec.seed for spec in specs}) > 10
    pairs = [(spec.region, spec.fractured) for spec in specs]
    assert all(pairs.count((region, broken)) == 2 for region in REGIONS for broken in (True, False))
    assert HEIGHT_PX * WIDTH_PX >= 2_000_000


@pytest.mark.parametrize(("count", "rounds"), [(100, 3), (7, 3), (2, 5), (1, 1)])
def test_portions_hold_every_file_once(count: int, rounds: int) -> None:
    files = [Path(str(number)) for number in range(count)]
    portions = shares(files, rounds)
    assert [file for portion in portions for file in portion] == files
    assert max(map(len, portions)) - min(map(len, portions)) <= 1
    assert len(portions) == min(count, rounds)


def test_everything_is_in_scope_of_the_opened_models(tmp_path: Path) -> None:
    for name, scope in (
        ("region", {"file": "scope.npz", "threshold": -1.0, "min_region_probability": 0.5}),
        ("f", None),
    ):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "card.json").write_text(json.dumps({"name": name, "scope": scope}))
        (tmp_path / "models" / name / "model.bin").write_bytes(b"weights")
    opened = open_scope(tmp_path / "models", tmp_path / "opened")
    assert json.loads((opened / "region" / "card.json").read_text())["scope"]["threshold"] < -1e6
    assert (opened / "f" / "card.json").is_symlink()
    assert (opened / "region" / "model.bin").read_bytes() == b"weights"
    assert json.loads((tmp_path / "models" / "region" / "card.json").read_text())["scope"]["threshold"] == -1.0
