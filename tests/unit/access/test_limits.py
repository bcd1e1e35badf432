"""Budgets: in Redis for all processes, in this process when Redis is away, and never none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import redis

from fractureai.access import limits
from fractureai.access.limits import Budgets, Limiter, budgets_of
from fractureai.embedded.queue_server import find_queue_server, queue_server_command
from tests.integration.waiting import until

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
def test_without_redis_this_process_counts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # At the logger itself: how loud the logs are is everybody's, and other tests may have set it.
    said: list[str] = []
    monkeypatch.setattr(limits._LOG, "warning", lambda text, *_: said.append(text))
    limiter = Limiter(budgets_of(_FEW), url)
    assert [limiter.over("key", ["a"]) is None for _ in range(4)] == [True, True, True, False]
    assert len(said) == 1
    assert "in this process" in said[0]


@pytest.mark.parametrize("text", ["", "many", "3/fortnight"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        budgets_of(Budgets(key=text))


def test_processes_share_a_budget_in_redis() -> None:
    """A real Redis, and two limiters as two processes have them; no address stands in it."""
    folder = Path(tempfile.mkdtemp(prefix="fai-"))
    server = subprocess.Popen(
        queue_server_command(find_queue_server(), folder / "redis.sock", folder), stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: (folder / "redis.sock").exists())
        url = f"redis+socket://{folder / 'redis.sock'}"
        one, other = (Limiter(budgets_of(_FEW), url, "test:") for _ in range(2))
        taken = [limiter.over("address", ["192.0.2.77"]) is None for limiter in (one, other, one, other)]
        assert taken == [True, True, True, False]
        keys = redis.Redis(unix_socket_path=str(folder / "redis.sock")).keys()
        assert keys
        assert all(key.startswith(b"test:limits") and b"192.0.2" not in key for key in keys)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)
