"""Budgets: in Redis for all processes, in this process when Redis is away, and never none."""

from __future__ import annotations

import pytest

from fractureai.access.limits import Budgets, Limiter, budgets_of

_FEW = Budgets("3/hour", "3/hour", "3/hour", "3/hour")


def test_a_budget_is_used_up() -> None:
    limiter = Limiter(budgets_of(_FEW))
    assert [limiter.over("key", ["a"]) for _ in range(3)] == [None] * 3
    wait_s = limiter.over("key", ["a"])
    assert wait_s is not None
    assert 1 <= wait_s <= 7200
    assert limiter.over("key", ["b"]) is None
    assert limiter.over("address", ["a"]) is None


@pytest.mark.parametrize("url", ["redis://127.0.0.1:9/0", "redis+socket:///no/such/socket"])
def test_without_redis_this_process_counts(url: str, caplog: pytest.LogCaptureFixture) -> None:
    limiter = Limiter(budgets_of(_FEW), url)
    assert [limiter.over("key", ["a"]) is None for _ in range(4)] == [True, True, True, False]
    assert "in this process" in caplog.text
    assert caplog.text.count("in this process") == 1


@pytest.mark.parametrize("text", ["", "many", "3/fortnight"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        budgets_of(Budgets(key=text))
