"""The short form of ``make chaos``: everything is killed once, the store stutters, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgresql
from tests.chaos.checker import check
from tests.chaos.run import Order, run


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("chaos")
def test_nothing_accepted_is_lost_whatever_dies() -> None:
    if reason := postgresql.missing():
        pytest.skip(reason)
    outcome = run(Order(seed=20261123, studies=24, over_s=12, outage_s=6, worker_kills=4, patience_s=240))
    assert outcome.verdict.wrong == []
    assert outcome.verdict.accepted == 24
    assert sum(outcome.verdict.outcomes.values()) == 24


def test_the_checker_sees_what_is_lost_and_what_nobody_was_told(tmp_path: Path) -> None:
    note = {"batch_id": "b" * 32, "files": [{"name": "hand.png", "sha256": "0" * 64, "readable": True}]}
    assert check(tmp_path, [note], []).wrong == [f"batch {'b' * 32} hand.png: lost"]


def test_the_checker_sees_what_stays_open_torn_and_doubled(tmp_path: Path) -> None:
    sha = "0" * 64
    for study_id in ("1" * 32, "2" * 32):
        folder = tmp_path / "sites" / "local" / "studies" / study_id
        folder.mkdir(parents=True)
        images = f'[{{"number": 1, "sha256": "{sha}"}}]'
        (folder / "study.json").write_text(
            f'{{"study_id": "{study_id}", "batch_id": "{"b" * 32}", "images": {images}}}'
        )
    files = [{"name": "hand.png", "sha256": sha, "readable": True}]
    doubled = check(tmp_path, [{"batch_id": "b" * 32, "files": files}], [])
    assert any("doubled" in sentence for sentence in doubled.wrong)
    (tmp_path / "sites" / "local" / "studies" / ("2" * 32) / "study.json").unlink()
    alone = check(tmp_path, [{"batch_id": "b" * 32, "files": files}], [])
    assert any("has no result" in sentence for sentence in alone.wrong)
    assert len(alone.leftovers) == 1
    (folder.parent / ("1" * 32) / "result.json").write_text('{"state": "do')
    torn = check(tmp_path, [{"batch_id": "b" * 32, "files": files}], [])
    assert any("torn" in sentence for sentence in torn.wrong)
