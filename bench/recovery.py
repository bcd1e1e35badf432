"""``python -m bench.recovery``: ten thousand open studies, an emptied Redis, and what a study costs before and after.

Redis, an inference worker, a reports worker and a scheduler as processes; networks on a small canvas, so that the
service is what is loaded. First some studies on an empty ledger, then ten thousand at once, a tenth of them walk-ins.
With all of them open, Redis is emptied, and nobody does anything about it. When all are final, a second installation
with an empty ledger is started, and both are fed in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from bench.__main__ import machine, say
from bench.installation import SITE, Installation, Worker, installation
from bench.load import dicom
from bench.rounds import machine_cpu_s
from fractureai.domain.study import Stage
from tests import postgresql
from tests.small_models import small_models

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
_MEMORY = Path("/dev/shm")
_WORKERS = (Worker("inference"), Worker("reports"), Worker("scheduler"))
_WARM = 50
_WINDOW = 500
_WALK_INS = 10
_MEMORY_AT = (100, 1000, 5000)
_ID = re.compile(r"[0-9a-f]{32}")
_PATIENCE_S = 1500.0
_WORK = ("inference worker", "decoding child", "reports worker")
_MOST_RATIO = 1.05


@dataclass
class Watch:
    """What was seen of an installation, sample by sample: when, how many were final, processor time by label."""

    built: Installation
    samples: list[tuple[float, int, Counter[str]]] = field(default_factory=list)
    memory_mb: dict[str, Any] = field(default_factory=dict)

    def until(self, number: int, *, memory_at: Sequence[int] = ()) -> None:
        """Look twice a second until so many are final."""
        deadline_s = time.monotonic() + _PATIENCE_S
        left = list(memory_at)
        while True:
            finished = self.built.finished()
            self.samples.append((time.monotonic(), finished, self.built.cpu_s()))
            while left and finished >= left[0]:
                self.memory_mb[str(left.pop(0))] = self.built.memory_mb()
            if finished >= number:
                return
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{finished} of {number} studies are final after {_PATIENCE_S:.0f} s")
            time.sleep(0.5)

    def cost(self, first: int, last: int) -> dict[str, float]:
        """Processor time a study, ms by label, of those that became final from one count to the other."""
        begin = next(sample for sample in self.samples if sample[1] >= first)
        end = next(sample for sample in self.samples if sample[1] >= last)
        return {
            label: round((end[2][label] - begin[2][label]) / (end[1] - begin[1]) * 1e3, 2) for label in sorted(end[2])
        }


def main() -> None:
    """Entry point."""
    chosen = _arguments()
    with contextlib.ExitStack() as stack:
        # Everything is in memory: the disk's speed is not what is asked for.
        tempfile.tempdir = str(_MEMORY)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fai-recovery-")))
        files, models = _files(folder), small_models(folder / "models")
        built = stack.enter_context(_fresh(models, chosen.ledger))
        everybody_s, began_s = machine_cpu_s(), time.monotonic()
        watch, found = _recover(built, files, chosen.studies)
        found["of_the_machine_cores_used"] = round((machine_cpu_s() - everybody_s) / (time.monotonic() - began_s), 2)
        document = {"machine": machine(), "options": {"studies": chosen.studies, "ledger": chosen.ledger}} | found
        document |= {"checked": check(built), "cpu_ms_a_study": _windows(watch)}
        _write(document, chosen.json)
        rounds = _rounds(built, stack.enter_context(_fresh(models, chosen.ledger)), files, chosen.rounds)
    document |= {"full_against_empty_ledger": rounds}
    _write(document, chosen.json)
    print(json.dumps(document, indent=1))
    missed = [*document["checked"]["wrong"]]
    if rounds["ratio_median"] > _MOST_RATIO:
        missed.append(f"a study costs {rounds['ratio_median']} times as much on a full ledger")
    if missed:
        sys.exit("; ".join(missed))


def _write(document: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")


@contextlib.contextmanager
def _fresh(models: Path, ledger: str) -> Iterator[Installation]:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgresql.running()) if ledger == "postgresql" else ""
        yield stack.enter_context(installation(_WORKERS, models, ledger_url=url))


def _files(folder: Path) -> list[Path]:
    found = [folder / f"{seed}.dcm" for seed in range(20)]
    for seed, file in enumerate(found):
        file.write_bytes(dicom(seed, 256, 224))
    return found


def _some(files: Sequence[Path], count: int) -> list[Path]:
    return [files[number % len(files)] for number in range(count)]


def _recover(built: Installation, files: Sequence[Path], studies: int) -> tuple[Watch, dict[str, Any]]:
    watch = Watch(built)
    say("warming up, and some on an empty ledger")
    built.accept(_some(files, _WARM), batches_of=25)
    watch.until(_WARM)
    built.accept(_some(files, _WINDOW), batches_of=100)
    watch.until(_WARM + _WINDOW)
    say(f"taking in {studies}")
    began_s = time.monotonic()
    built.accept(_some(files, studies - studies // _WALK_INS), batches_of=1000)
    built.accept(_some(files, studies // _WALK_INS))
    took_s = time.monotonic() - began_s
    emptied, held, lost = _empty(built)
    say(f"Redis is emptied: {emptied}")
    began_s = time.monotonic()
    before = built.finished()
    moved_s = _moves(built, began_s, held, lost)
    total = _WARM + _WINDOW + studies
    watch.until(total, memory_at=sorted({*(at for at in _MEMORY_AT if at < total), total}))
    final_s = time.monotonic() - began_s
    rate = (total - before) / final_s
    return watch, {
        "accepting_s": round(took_s, 1),
        "when_emptied": emptied,
        "moves_after_s": moved_s,
        "all_final_after_s": round(final_s, 1),
        "studies_a_second": round(rate, 2),
        "memory_mb_at": watch.memory_mb,
    }


def _empty(built: Installation) -> tuple[dict[str, int], set[str], set[str]]:
    """Empty Redis; returns how much was open, who was held by a worker, and whose message was lost."""
    with built.redis() as client:
        held = {row[0] for row in built.ask("SELECT study_id FROM studies WHERE lease_owner IS NOT NULL")}
        lost: set[str] = set()
        for key in client.scan_iter("*"):
            if client.type(key) == b"list":
                found = (_ID.search(json.loads(each)["headers"]["argsrepr"]) for each in client.lrange(key, 0, -1))
                lost |= {match.group() for match in found if match}
        client.flushall()
    open_now = built.ask("SELECT count(*) FROM studies WHERE state = 'open'")[0][0]
    lost -= held
    return {"open": open_now, "held_by_a_worker": len(held), "messages_lost": len(lost)}, held, lost


def _moves(built: Installation, began_s: float, held: set[str], lost: set[str]) -> dict[str, float]:
    """Seconds until a worker takes a study that none held then, and the first of those whose message was lost."""
    since_s = built.deployment.clock()
    found: dict[str, float] = {}
    while len(found) < 2:
        taken = {row[0] for row in built.ask("SELECT study_id FROM studies WHERE claimed_at_s > :since", since=since_s)}
        for name, is_it in (("the first", taken - held), ("the first that was lost", taken & lost)):
            if is_it:
                found.setdefault(name, round(time.monotonic() - began_s, 1))
        if time.monotonic() - began_s > _PATIENCE_S:
            raise RuntimeError("what was lost does not come back")
        time.sleep(0.1)
    return found


def check(built: Installation) -> dict[str, Any]:
    """Whether everything is final once: by the ledger, by the store, and by the workers' own counts."""
    states = {row[0]: row[1] for row in built.ask("SELECT state, count(*) FROM studies GROUP BY state")}
    total = sum(states.values())
    folders = list((built.folder / "data" / "store" / "sites" / SITE / "studies").iterdir())
    results = sum((folder / "result.json").is_file() and (folder / "report.pdf").is_file() for folder in folders)
    places = built.ask("SELECT count(DISTINCT finish_number), max(finish_number) FROM studies")[0]
    twice = built.ask(
        "SELECT count(*) FROM (SELECT study_id FROM events WHERE what = 'done' GROUP BY study_id HAVING count(*) > 1) x"
    )[0][0]
    runs = _runs(built)
    wrong = []
    if states != {"done": total}:
        wrong.append(f"not all are done: {states}")
    if not len(folders) == results == total:
        wrong.append(f"{total} studies, {len(folders)} in the store, {results} with result and report")
    if tuple(places) != (total, total) or twice:
        wrong.append(f"places {tuple(places)} of {total}, {twice} done twice")
    done = {stage: runs[f"{stage} done"] for stage in Stage}
    wrong += [f"{stage} was done {number} times" for stage, number in done.items() if number != total]
    return {"states": states, "stage_runs": runs, "restarts": built.restarts(), "wrong": wrong}


def _runs(built: Installation) -> Counter[str]:
    """How often each stage was run, by what came of it: the counts of all workers, killed ones included."""
    found: Counter[str] = Counter()
    for folder in (built.folder / "metrics").iterdir():
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))
        for metric in registry.collect():
            if metric.name == "fractureai_stage_runs":
                for sample in metric.samples:
                    found[f"{sample.labels['stage']} {sample.labels['result']}"] += int(sample.value)
    return found


def _rounds(full: Installation, empty: Installation, files: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Feed both in turns, so that the machine's moods hit both alike; what a study costs on each."""
    both = {"full": Watch(full), "empty": Watch(empty)}
    for watch in both.values():
        _round(watch, files)
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in both}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: full ledger against empty")
        for name in ("full", "empty") if number % 2 else ("empty", "full"):
            costs[name].append(_round(both[name], files))
    ratios = [_work(one) / _work(other) for one, other in zip(costs["full"], costs["empty"], strict=True)]
    return {
        "ratio_median": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "cpu_ms_a_study": {
            name: {label: round(statistics.median(each.get(label, 0.0) for each in found), 2) for label in found[0]}
            for name, found in costs.items()
        },
    }


def _round(watch: Watch, files: Sequence[Path], count: int = 200) -> dict[str, float]:
    before = watch.built.finished()
    watch.samples = []
    watch.built.accept(_some(files, count), batches_of=count)
    watch.until(before + count)
    return watch.cost(before, before + count)


def _work(cost: dict[str, float]) -> float:
    # A decoding child that is just being replaced has no time of its own; what it used is its parent's by then.
    return sum(cost.get(label, 0.0) for label in _WORK)


def _windows(watch: Watch) -> dict[str, dict[str, float]]:
    """Of the first ones, on an empty ledger, and of all that were open at once.

    Not of short stretches between: what the reports worker finishes was read by the inference worker long before.
    """
    first, last = _WARM + _WINDOW, watch.samples[-1][1]
    found = {}
    for name, bounds in (("the first", (_WARM, first)), ("those open at once", (first, last))):
        cost = watch.cost(*bounds)
        found[name] = cost | {"all workers": round(_work(cost), 2)}
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000, help="open at once (default: %(default)s)")
    parser.add_argument("--ledger", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--rounds", type=int, default=10, help="of 200 studies at each (default: %(default)s)")
    parser.add_argument(
        "--json", type=Path, default=_CACHE / "recovery.json", help="written here (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
