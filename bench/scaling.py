"""``python -m bench.scaling``: what one machine, ten and a thousand workers do, and what stops them first.

A discrete-event simulation: studies wait for a worker, the worker takes them through the steps of a stage, and the
steps wait for what is shared: cores, the queue's one thread, the database's cores, a site's counter, the bucket.
Service times are constants, so the same input prints the same table. What was measured and what is assumed stands
apart.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

# Measured: bench/README.md (quiet machine, processor time of a study in ms by process) …
WEB_MS, INFERENCE_MS, REPORTS_MS, QUEUE_MS = 21.1, 132.1, 58.1, 0.9
# … and python -m bench.unit_costs (2026-11-24, busy machine): transactions, requests, bytes and servers' time a study.
TRANSACTIONS, STATEMENTS, PUTS, GETS, SENT_MB = 10.0, 32.1, 17, 13, 5.0
LEDGER_MS = 6.5
RCLONE_MS = 60.0

# Assumed, and named in docs/scaling.md: a way to a server and back, a commit that reaches the disk, a request to a
# bucket, and what one prefix of a bucket on AWS takes before it is split (its documentation).
ROUND_TRIP_MS, SYNC_MS, REQUEST_MS = 0.3, 1.0, 15.0
PUTS_PER_S, GETS_PER_S = 3500, 5500

_FINISH_STATEMENTS = 4
"""Of the transaction that finishes a study, from the site's counter to the commit."""
_WARM = 0.3
_FULL = 0.97


@dataclass(frozen=True, slots=True)
class Setting:
    """One installation.

    Attributes
    ----------
    inference, reports, web:
        Workers, and web processes; each has a core but on one machine.
    cores:
        Of the one machine everything runs on; 0: of several, where nobody takes another's cores.
    ledger_cores:
        Of the database's machine.
    bucket:
        ``folder``, ``rclone`` on the same machine, or ``cloud``.
    remote:
        Whether database and queue are a network away.
    """

    name: str
    inference: int
    reports: int
    web: int
    cores: int = 0
    ledger_cores: int = 8
    bucket: str = "cloud"
    remote: bool = True
    queues: int = 1
    sites: int = 1
    ledger: bool = True
    prefixes: int = 1


SETTINGS = (
    Setting("`serve`, 2 cores", 1, 1, 1, cores=2, bucket="folder", remote=False, ledger=False),
    Setting("compose, 2 cores", 1, 1, 1, cores=2, bucket="rclone", remote=False),
    Setting("compose, 8 cores", 4, 2, 1, cores=8, bucket="rclone", remote=False),
    Setting("10 inference workers", 10, 8, 2),
    Setting("100 inference workers", 100, 80, 8, ledger_cores=16),
    Setting("1,000 inference workers", 1000, 800, 60, ledger_cores=64),
    Setting("1,000, the bucket split in 12", 1000, 800, 60, ledger_cores=64, prefixes=12),
    Setting("1,000, split, on 20 sites", 1000, 800, 60, ledger_cores=64, prefixes=12, sites=20),
)


@dataclass(slots=True)
class Station:
    """Something shared: ``servers`` places, each taken for a service time; who comes first is served first."""

    servers: int
    free_ms: list[float] = field(default_factory=list)
    busy_ms: float = 0.0

    def serve(self, now_ms: float, service_ms: float) -> float:
        """When a service that is asked for now will be over."""
        begins_ms = now_ms if len(self.free_ms) < self.servers else max(now_ms, heapq.heappop(self.free_ms))
        heapq.heappush(self.free_ms, begins_ms + service_ms)
        self.busy_ms += service_ms
        return begins_ms + service_ms


@dataclass(slots=True)
class Pool:
    """Workers of a role, each with one study at a time, and the studies that wait for one."""

    idle: int
    size: int
    waiting: deque[int] = field(default_factory=deque)
    busy_ms: float = 0.0


Step = tuple[str, str, float]
"""What is done (``take``, ``leave``, ``use``, ``wait``), with what, and for how many ms."""


def steps_of(setting: Setting) -> list[Step]:
    """The way of one study, from the web to its end."""
    return list(_steps(setting))


def _steps(setting: Setting) -> Iterator[Step]:
    way_ms = ROUND_TRIP_MS if setting.remote else 0.05
    message = ("use", "queue", QUEUE_MS / 4)

    def transactions(number: float) -> Iterator[Step]:
        if not setting.ledger:
            return
        yield "wait", "", way_ms * number * STATEMENTS / TRANSACTIONS
        yield "use", "ledger", LEDGER_MS * number / TRANSACTIONS

    def requests(puts: float, gets: float) -> Iterator[Step]:
        if setting.bucket == "rclone":
            yield "use", "bucket", RCLONE_MS * (puts + gets) / (PUTS + GETS)
        elif setting.bucket == "cloud":
            yield "wait", "", REQUEST_MS * (puts + gets)
            yield "use", "bucket", puts * 1e3 / PUTS_PER_S + gets * 1e3 / GETS_PER_S

    def stage(role: str, cpu_ms: float, number: float) -> Iterator[Step]:
        yield "take", role, 0.0
        yield message
        yield from transactions(number / 2)
        yield from requests(0, GETS / 4)
        yield "use", f"{role} cores", cpu_ms
        yield from requests((PUTS - 2) / 4, 0)
        yield from transactions(number / 2)
        yield "leave", role, 0.0

    yield "take", "web", 0.0
    yield from requests(2, 0)
    yield "use", "web cores", WEB_MS
    yield from transactions(2)
    yield "leave", "web", 0.0
    for _ in range(2):
        yield from stage("inference", INFERENCE_MS / 2, 2)
    yield from stage("reports", REPORTS_MS / 2, 2)
    *report, leave = stage("reports", REPORTS_MS / 2, TRANSACTIONS - 8)
    yield from report
    if setting.ledger:
        # The place among all that is finished at a site is given out one after another, until it is on the disk.
        yield "use", "site", _FINISH_STATEMENTS * way_ms + SYNC_MS
    yield leave


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an installation did; ``busy``: by what is shared and by role, the part of the time that it was in use."""

    studies_per_s: float
    busy: dict[str, float]


def simulate(setting: Setting) -> Outcome:
    """Keep more studies on their way than there are workers, and count those that end once it runs evenly."""
    steps = steps_of(setting)
    roles = {"web": setting.web * 8, "inference": setting.inference, "reports": setting.reports}
    pools = {role: Pool(number, number) for role, number in roles.items()}
    stations = _stations(setting)
    on_way = min(4 * (setting.inference + setting.reports) + 8, 2600)
    total = max(600, 2 * on_way)
    events: list[tuple[float, int, int, int]] = []
    order = itertools.count()
    for study in range(on_way):
        heapq.heappush(events, (0.0, next(order), study, 0))
    next_study, ended, warm_at_ms, now_ms = on_way, 0, 0.0, 0.0
    taken_ms: dict[tuple[int, str], float] = {}
    warm_busy: dict[str, float] = {}
    while ended < total:
        now_ms, _, study, at = heapq.heappop(events)
        kind, name, amount_ms = steps[at]
        done_ms = now_ms
        if kind == "wait":
            done_ms += amount_ms
        elif kind == "use":
            done_ms = _of(stations, name, study, setting).serve(now_ms, amount_ms)
        elif kind == "take":
            pool = pools[name]
            if not pool.idle:
                pool.waiting.append(study)
                taken_ms[study, "at"] = at
                continue
            pool.idle -= 1
            taken_ms[study, name] = now_ms
        else:
            pool = pools[name]
            pool.busy_ms += now_ms - taken_ms.pop((study, name))
            if pool.waiting:
                other = pool.waiting.popleft()
                taken_ms[other, name] = now_ms
                heapq.heappush(events, (now_ms, next(order), other, int(taken_ms.pop((other, "at"))) + 1))
            else:
                pool.idle += 1
        if at + 1 < len(steps):
            heapq.heappush(events, (done_ms, next(order), study, at + 1))
            continue
        ended += 1
        heapq.heappush(events, (now_ms, next(order), next_study, 0))
        next_study += 1
        if not warm_at_ms and ended >= _WARM * total:
            warm_at_ms, warm_ended, warm_busy = now_ms, ended, _busy(stations, pools)
    took_ms = now_ms - warm_at_ms
    busy = {
        name: (value - warm_busy[name]) / took_ms / _size(name, stations, pools)
        for name, value in _busy(stations, pools).items()
    }
    return Outcome((ended - warm_ended) / took_ms * 1e3, _by_kind(busy))


def _stations(setting: Setting) -> dict[str, Station]:
    if setting.cores:
        machine = Station(setting.cores)
        found = dict.fromkeys(("web cores", "inference cores", "reports cores", "ledger", "queue", "bucket"), machine)
    else:
        found = {
            "web cores": Station(setting.web),
            "inference cores": Station(setting.inference),
            "reports cores": Station(setting.reports),
            "ledger": Station(setting.ledger_cores),
            "queue": Station(setting.queues),
            "bucket": Station(setting.prefixes),
        }
    return found | {f"site {number}": Station(1) for number in range(setting.sites)}


def _of(stations: dict[str, Station], name: str, study: int, setting: Setting) -> Station:
    return stations[f"site {study % setting.sites}" if name == "site" else name]


def _busy(stations: dict[str, Station], pools: dict[str, Pool]) -> dict[str, float]:
    found = {f"pool {role}": pool.busy_ms for role, pool in pools.items() if role != "web"}
    return found | {name: station.busy_ms for name, station in stations.items()}


def _size(name: str, stations: dict[str, Station], pools: dict[str, Pool]) -> int:
    return pools[name.removeprefix("pool ")].size if name.startswith("pool ") else stations[name].servers


def _by_kind(busy: dict[str, float]) -> dict[str, float]:
    sites = [value for name, value in busy.items() if name.startswith("site ")]
    rest = {name: value for name, value in busy.items() if not name.startswith("site ")}
    return rest | {"site": sum(sites) / len(sites)}


_SAID = {
    "inference cores": "the machine's cores",
    "pool inference": "inference workers",
    "pool reports": "reports workers", "web cores": "web", "queue": "the queue's thread",
    "ledger": "the database's cores", "bucket": "the bucket", "site": "a site's counter",
}  # fmt: skip


def ceiling(setting: Setting, outcome: Outcome) -> str:
    """What is in use all the time. Workers that only wait for something shared are not what is short."""
    names = ("inference cores",) if setting.cores else ("queue", "ledger", "bucket", "site", "web cores")
    shared = {name: outcome.busy[name] for name in names}
    fullest = max(shared, key=lambda name: shared[name])
    if shared[fullest] < _FULL:
        fullest = max(("pool inference", "pool reports"), key=lambda name: outcome.busy[name])
    return f"{_SAID[fullest]} ({min(outcome.busy[fullest], 1):.0%})"


def table() -> str:
    """What is printed, and stands in docs/scaling.md."""
    lines = [
        "| installation | studies/s | a day | first ceiling | computing | queue | ledger | site counter | bucket |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    needs = [
        "| installation | web cores | ledger cores | transactions/s | bucket requests/s | MB/s into the bucket |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for setting in SETTINGS:
        outcome = simulate(setting)
        rate, busy = outcome.studies_per_s, outcome.busy
        shared = [
            f"{min(busy[name], 1):.0%}" if not setting.cores else "–" for name in ("queue", "ledger", "site", "bucket")
        ]
        computing = f"{min(rate * INFERENCE_MS / 1e3 / (setting.cores or setting.inference), 1):.0%}"
        cells = [setting.name, _round(rate), _round(rate * 86400), ceiling(setting, outcome), computing, *shared]
        lines.append(f"| {' | '.join(cells)} |")
        if setting.ledger:
            cells = [
                setting.name, _round(rate * WEB_MS / 1e3), _round(rate * LEDGER_MS / 1e3), _round(rate * TRANSACTIONS),
                _round(rate * (PUTS + GETS)), _round(rate * SENT_MB),
            ]  # fmt: skip
            needs.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "What each then asks of what is shared:", "", *needs])


def _round(value: float) -> str:
    """Two figures: no more are known."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.1f}"


if __name__ == "__main__":
    print(table())
