"""Two workers against one: what the rounds add up to."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.recovery import Watch
from bench.workers import Round, summary


def _pair(one: float, two: float, *, others: float) -> tuple[Round, Round]:
    return Round((0,), one, 100.0, 1.0, others, 0.0), Round((0, 1), two, 102.0, 2.0, others, 0.0)


@pytest.mark.parametrize(("others", "calm"), [(0.01, True), (0.8, False)])
def test_the_ratio_is_that_of_neighbouring_rounds(others: float, calm: bool) -> None:
    # The machine gets faster; each pair is compared with itself.
    found = summary([_pair(10, 19, others=others), _pair(20, 37, others=others)], [1.9, 2.0])
    assert found["ratios"] == [1.9, 1.85]
    assert found["ratio_median"] == 1.875
    assert found["machine_ratio_median"] == 1.95
    assert found["cpu_ms_a_study"] == {"one": 100.0, "two": 102.0}
    assert found["calm"] is calm


def test_what_a_study_costs_between_two_counts() -> None:
    watch = Watch(built=None)  # type: ignore[arg-type]
    watch.samples = [
        (0.0, 0, Counter(worker=1.0)),
        (1.0, 12, Counter(worker=2.0)),
        (2.0, 32, Counter(worker=4.0, child=1.0)),
        (3.0, 90, Counter(worker=9.0, child=9.0)),
    ]
    assert watch.cost(10, 30) == {"child": 50.0, "worker": 100.0}
