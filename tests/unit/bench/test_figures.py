"""The bookkeeping of the benchmark; it never judges how fast this machine is."""

from __future__ import annotations

import pytest

from bench.figures import Outcome, Tally, mean_steps, percentile, summary
from bench.targets import judge


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 5), (0.95, 10), (0.91, 10), (0.9, 9), (1.0, 10)])
def test_percentiles_by_nearest_rank(share: float, expected: int) -> None:
    assert percentile([10, 3, 1, 2, 9, 4, 8, 5, 7, 6], share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert {percentile([4.2], share) for share in (0.0, 0.5, 0.95, 1.0)} == {4.2}


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_a_step_that_was_skipped_counts_nothing() -> None:
    outcomes = [Outcome(0, 1, True, {"decode": 0.2, "detect": 0.4}), Outcome(0, 1, False, {"decode": 0.4})]
    assert mean_steps(outcomes) == pytest.approx({"decode": 0.3, "detect": 0.2})


def test_rounds_add_up() -> None:
    tally = Tally()
    tally.add_round([Outcome(10, 12, True), Outcome(11, 14, True)], {"web": 1.0, "worker": 2.0}, 0.5)
    tally.add_round([Outcome(100, 104, True), Outcome(100, 102, False)], {"web": 3.0}, 1.5)
    tally.memory.note([("web", 100_000_000, 60_000_000)])
    found = summary(tally)
    assert (found["studies"], found["complete"]) == (4, 3)
    # Four seconds in each round; the pause between them is nobody's.
    assert found["studies_per_s"] == pytest.approx(4 / 8)
    assert found["cpu_s_per_study"] == pytest.approx(6 / 4)
    assert found["cpu_s_per_study_by_process"] == pytest.approx({"web": 1.0, "worker": 0.5})
    assert found["latency_s"] == {"p50": 2, "p95": 4}
    assert found["others_cores"] == pytest.approx(2 / 8)


def _figures(studies_per_s: float, cpu_s: float, **rss_mb: float) -> dict[str, object]:
    by_process = {label.replace("_", " "): {"rss": size_mb} for label, size_mb in rss_mb.items()}
    memory = {"rss": sum(rss_mb.values()), "by_process": by_process}
    return {"studies_per_s": studies_per_s, "cpu_s_per_study": cpu_s, "peak_memory_mb": memory}


def test_targets_are_held_against_what_was_measured() -> None:
    subjects = {
        "service": _figures(9.0, 0.130, inference_worker=650, web=201, redis=10),
        "in process": _figures(7.0, 0.100),
        "handler": _figures(1.6, 0.900),
    }
    assert [each["holds"] for each in judge(subjects)] == [False, True, True, False, True]


def test_targets_need_their_subjects() -> None:
    service = _figures(9.0, 0.130, inference_worker=650, web=100)
    assert len(judge({"service": service})) == 3
    assert judge({"handler": service}) == []
