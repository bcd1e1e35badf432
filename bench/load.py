"""``python -m bench.load``: what requests take while the service is at work, with 100,000 studies in its worklist.

The whole service on loopback. Senders hand in small studies as fast as they are accepted, askers ask for their status
without a pause, and the workers work on them all the while. Then the same with files of 1 MB, and with the worklist.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.filled import ERA, fill
from fractureai.commands.serve import settings_for
from fractureai.embedded.service import embedded_service
from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.storage.ledger.sql import SqlLedger

_TARGETS_MS = {"status": 50.0, "accept 1 MB": 250.0, "worklist": 100.0}
_WORKLIST = (
    "/worklist",
    "/api/v1/studies",
    "/api/v1/studies?order=most_suspicious",
    "/api/v1/studies?assessment=fracture&region=hip",
)
# Words, and what else is asked of those who have them.
_SEARCHES = (("n4711", ""), ("scan", "&order=most_suspicious&region=elbow"))


@dataclass
class Tally:
    """How long requests took, by kind."""

    took_s: dict[str, list[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, kind: str, ask: Callable[[], httpx.Response]) -> httpx.Response:
        start = time.perf_counter()
        answer = ask()
        took = time.perf_counter() - start
        answer.raise_for_status()
        with self.lock:
            self.took_s.setdefault(kind, []).append(took)
        return answer

    def summary(self) -> dict[str, dict[str, float]]:
        return {kind: _figures(took, _TARGETS_MS.get(kind)) for kind, took in self.took_s.items()}


def _figures(took_s: list[float], target_ms: float | None) -> dict[str, Any]:
    ordered = sorted(1000 * value for value in took_s)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    figures = {"requests": len(ordered), "p50_ms": round(statistics.median(ordered), 1), "p95_ms": round(p95, 1)}
    return figures | ({} if target_ms is None else {"target_p95_ms": target_ms, "met": p95 <= target_ms})


def main() -> None:
    """Entry point."""
    chosen = _arguments()
    small = [dicom(seed, 256, 224) for seed in range(20)]
    large = [dicom(seed, 820, 640) for seed in range(4)]
    tally, rss = Tally(), {}
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder), chosen.rows)
        with embedded_service(settings_for(Path(folder), "127.0.0.1", chosen.port)) as service:
            web = service.supervisor.pids()["web"]
            with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client:
                warm = _post(client, small[0]).json()["status_url"]
                rss["before_mb"] = _rss_mb(web)
                began = time.perf_counter()
                with _asking(client, tally, [warm]) as known:
                    _send(client, tally, "accept", small, chosen.studies, chosen.senders, known)
                    accepted_s = time.perf_counter() - began
                    rss["after_mb"] = _rss_mb(web)
                    _send(client, tally, "accept 1 MB", large, chosen.studies // 20, 2, known)
                    addresses = [*_WORKLIST, *_searches(client)]
                    for number in range(chosen.studies // 10):
                        address = addresses[number % len(addresses)]
                        tally.timed("worklist", lambda address=address: client.get(address))
                rss["end_mb"] = _rss_mb(web)
                finished = _finished(client, chosen.rows)
    document = {
        "requests": tally.summary(),
        "web_rss": rss,
        "accepted_a_second": round(chosen.studies / accepted_s, 1),
        "rows": chosen.rows,
        "finished_meanwhile": finished,
    }
    print(json.dumps(document, indent=1))
    if not all(figures.get("met", True) for figures in document["requests"].values()):
        sys.exit("a target is missed")


def dicom(seed: int, height_px: int, width_px: int) -> bytes:
    drawn = render(PhantomSpec("hand", "frontal", bool(seed % 2), seed, height_px, width_px))
    uid = f"1.2.826.0.1.3680043.10.2.{height_px}.{seed}"
    return to_dicom(drawn, study_uid=uid, series_uid=f"{uid}.1", sop_uid=f"{uid}.1.1", instance_number=1)


def _fill(folder: Path, rows: int) -> None:
    ledger = SqlLedger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
    if rows:
        fill(ledger, rows, site="local")
    ledger.close()


def _post(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/api/v1/studies", files={"images": ("scan.dcm", data)})


def _send(
    client: httpx.Client, tally: Tally, kind: str, files: list[bytes], count: int, senders: int, known: list[str]
) -> None:
    def one(number: int) -> None:
        data = files[number % len(files)]
        known.append(tally.timed(kind, lambda: _post(client, data)).json()["status_url"])

    with ThreadPoolExecutor(senders) as pool:
        list(pool.map(one, range(count)))


@contextmanager
def _asking(client: httpx.Client, tally: Tally, known: list[str]) -> Iterator[list[str]]:
    """Two who ask for the status of any study accepted so far, ten times a second each."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.1):
            tally.timed("status", lambda: client.get(random.choice(known)))

    with ThreadPoolExecutor(2) as pool:
        askers = [pool.submit(ask) for _ in range(2)]
        try:
            yield known
        finally:
            over.set()
        for asker in askers:
            asker.result()


def _finished(client: httpx.Client, rows: int) -> dict[str, int]:
    """What became of the studies so far, by state, without those that were there before."""
    states: Counter[str] = Counter()
    cursor, more = f"{ERA}-{rows}", True
    while more:
        page = client.get("/api/v1/results", params={"after": cursor, "limit": 200}).json()
        states.update(study["state"] for study in page["studies"])
        cursor, more = page["next_cursor"], page["more"]
    return dict(states)


def _searches(client: httpx.Client) -> list[str]:
    asked = [(client.post("/api/v1/searches", json={"q": words}).json(), more) for words, more in _SEARCHES]
    return [found["studies_url"] + more for found, more in asked]


def _rss_mb(pid: int) -> float:
    root = psutil.Process(pid)
    return round(sum(each.memory_info().rss for each in (root, *root.children(recursive=True))) / 1e6, 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="handed in (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="in the worklist before (default: %(default)s)")
    parser.add_argument("--senders", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8123, help="for the service (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
