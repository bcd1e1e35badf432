"""What goes wrong, when, and how: the same seed, the same faults at the same moments."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis

from tests.chaos.proxy import Mode
from tests.chaos.world import World

_WORKERS = ("inference", "reports", "intake", "delivery")
_WORKER_KILLS = 20
_FILLER_BYTES = 1 << 20


@dataclass(frozen=True)
class Fault:
    """One blow, ``at_s`` seconds after the first study was sent, lasting ``for_s``."""

    at_s: float
    name: str
    for_s: float = 0.0
    pick: int = 0

    def __str__(self) -> str:
        return f"{self.at_s:6.1f} s  {self.name}" + (f" for {self.for_s:.0f} s" if self.for_s else "")


def plan(
    seed: int, over_s: float, *, s3: bool, outage_s: float = 60.0, worker_kills: int = _WORKER_KILLS
) -> list[Fault]:
    """The faults of one run, in order."""
    choose = random.Random(seed)

    def at(low: float = 0.02, high: float = 1.0) -> float:
        return round(choose.uniform(low, high) * over_s, 2)

    names = ["kill web", "kill web", "kill redis", "kill redis and its disk", "empty redis", "kill scheduler",
             "kill scheduler", "terminate all workers", "junk in the queue", "duplicate deliveries",
             "duplicate deliveries", "stop redis"]  # fmt: skip
    faults = [
        Fault(at(), name, for_s=15.0 if name == "stop redis" else 0.0, pick=choose.randrange(1 << 30)) for name in names
    ]
    faults += [Fault(at(), "kill a worker", pick=choose.randrange(1 << 30)) for _ in range(worker_kills)]
    faults += [Fault(at(), "clock jump", for_s=choose.choice((5.0, 20.0)), pick=choose.choice((-300, -20, 60, 600)))]
    if s3:
        outages = ["store paused", "store errors", "store slow", "store refuses"]
        choose.shuffle(outages)
        faults += [
            Fault(round((0.1 + 0.2 * place) * over_s, 2), name, for_s=outage_s if place == 0 else outage_s / 4)
            for place, name in enumerate(outages)
        ]
    else:
        faults.append(Fault(at(0.3, 0.6), "disk full", for_s=outage_s / 4))
    return sorted(faults, key=lambda fault: fault.at_s)


def strike(faults: Sequence[Fault], world: World, say: Callable[[str], None]) -> None:
    """Do it all at its time; what lasts ends in time too, also beside what follows."""
    started = time.monotonic()
    pending: list[tuple[float, Callable[[], None]]] = []
    queue = list(faults)
    while queue or pending:
        now_s = time.monotonic() - started
        for entry in [each for each in pending if each[0] <= now_s]:
            pending.remove(entry)
            entry[1]()
        if queue and queue[0].at_s <= now_s:
            fault = queue.pop(0)
            say(str(fault))
            undo = _BLOWS[fault.name](world, fault.pick)
            if undo is not None:
                pending.append((now_s + fault.for_s, undo))
        time.sleep(0.05)


def _kill_worker(world: World, pick: int) -> None:
    choose = random.Random(pick)
    child = choose.choice([child for role in _WORKERS for child in world.keeper.named(role)])
    family = child.family()
    if not family:
        return
    how = choose.choice(("all", "main", "below"))
    chosen = {"all": family, "main": family[:1], "below": family[-1:]}[how]
    for pid in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill(prefix: str) -> Callable[[World, int], None]:
    def blow(world: World, pick: int) -> None:
        random.Random(pick).choice(world.keeper.named(prefix)).signal_all(signal.SIGKILL)

    return blow


def _kill_redis_and_disk(world: World, _pick: int) -> None:
    child = world.keeper.named("redis")[0]
    child.held = True
    child.signal_all(signal.SIGKILL)
    if child.process:
        child.process.wait()
    shutil.rmtree(world.redis_folder, ignore_errors=True)
    world.redis_folder.mkdir()
    child.held = False


def _empty_redis(world: World, _pick: int) -> None:
    with contextlib.suppress(redis.RedisError), _redis(world) as client:
        client.flushall()


def _stop_redis(world: World, _pick: int) -> Callable[[], None]:
    child = world.keeper.named("redis")[0]
    child.signal_all(signal.SIGSTOP)
    return lambda: child.signal_all(signal.SIGCONT)


def _terminate_workers(world: World, _pick: int) -> None:
    for role in _WORKERS:
        for child in world.keeper.named(role):
            if child.process and child.process.poll() is None:
                child.process.terminate()


def _junk(world: World, _pick: int) -> None:
    """Messages nobody of ours has sent, at the end of every queue where they are taken from."""
    with contextlib.suppress(redis.RedisError), _redis(world) as client:
        for key in [key for key in client.scan_iter("*") if client.type(key) == b"list"]:
            for text in (b"not json", b"{}", b"\xff\xfe", json.dumps({"body": "e30=", "headers": {}}).encode()):
                client.rpush(key, text)


def _duplicates(world: World, _pick: int) -> None:
    """Every message that waits comes twice, with another delivery tag as a second sending has."""
    with contextlib.suppress(redis.RedisError), _redis(world) as client:
        for key in [key for key in client.scan_iter("*") if client.type(key) == b"list"]:
            for text in client.lrange(key, 0, 50):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    message = json.loads(text)
                    message["properties"]["delivery_tag"] = str(uuid.uuid4())
                    client.lpush(key, json.dumps(message))


def _clock_jump(world: World, pick: int) -> Callable[[], None]:
    world.jump_clock(pick)
    return lambda: world.jump_clock(0)


def _store(mode: Mode) -> Callable[[World, int], Callable[[], None]]:
    def blow(world: World, _pick: int) -> Callable[[], None]:
        line = world.s3
        assert line is not None
        line.mode = mode

        def undo() -> None:
            line.mode = Mode.OPEN

        return undo

    return blow


def _disk_full(world: World, _pick: int) -> Callable[[], None]:
    filler = world.store / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * _FILLER_BYTES)
                file.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return filler.unlink


def _redis(world: World) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(world.redis_socket), socket_timeout=5)


_BLOWS: dict[str, Callable[[World, int], Callable[[], None] | None]] = {
    "kill a worker": _kill_worker,
    "kill web": _kill("web"),
    "kill scheduler": _kill("scheduler"),
    "kill redis": _kill("redis"),
    "kill redis and its disk": _kill_redis_and_disk,
    "empty redis": _empty_redis,
    "stop redis": _stop_redis,
    "terminate all workers": _terminate_workers,
    "junk in the queue": _junk,
    "duplicate deliveries": _duplicates,
    "clock jump": _clock_jump,
    "store paused": _store(Mode.PAUSED),
    "store errors": _store(Mode.ERRORS),
    "store slow": _store(Mode.SLOW),
    "store refuses": _store(Mode.REFUSED),
    "disk full": _disk_full,
}
