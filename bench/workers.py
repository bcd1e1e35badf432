"""``python -m bench.workers``: two inference workers against one, each held to a core of its own.

Redis and inference workers alone: ``classify`` and ``detect`` with the shipped networks on 2-megapixel phantoms, one
thread each, a backlog of walk-ins before them; what comes after stays in the queue. Store and ledger are in memory.
Rounds take turns: one worker, both, the other one, both. Before every pair the machine itself is asked what its two
cores do together that one does not, by plain hashing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import workload
from bench.__main__ import machine, model_versions, open_scope, say
from bench.installation import Installation, Worker, installation
from bench.rounds import machine_cpu_s
from fractureai.bootstrap import ROLES

_ROOT = Path(__file__).resolve().parent.parent
_CACHE = _ROOT / ".cache" / "bench"
_MEMORY = Path("/dev/shm")
_STAGES = ("classify", "detect")
_WARM = 6
_EDGE = 0.1
_TARGET = 1.8
_CALM_CORES = 0.1
_PATIENCE_S = 120.0
_HASHING = """
import hashlib, sys, time
block, end, done = b"x" * (1 << 20), time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    hashlib.sha256(block)
    done += 1
print(done)
"""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed.

    Attributes
    ----------
    studies_per_s:
        Stages done over two, without the first and the last tenth of them.
    cpu_ms:
        Processor time a study, of the workers with their decoding children.
    cores:
        What the workers used of the machine meanwhile.
    others_cores, stolen_cores:
        What everything else used, and what the host gave to other machines: near 0 where nothing disturbs.
    """

    workers: tuple[int, ...]
    studies_per_s: float
    cpu_ms: float
    cores: float
    others_cores: float
    stolen_cores: float


def main() -> None:
    """Entry point."""
    chosen = _arguments()
    cores = tuple(sorted(os.sched_getaffinity(0)))[:2]
    if len(cores) < 2:
        sys.exit("two cores are needed")
    files = workload.files(20, 1, _CACHE / "phantoms")
    with contextlib.ExitStack() as stack:
        tempfile.tempdir = str(_MEMORY)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fai-workers-")))
        models = open_scope(_ROOT / "models", folder / "models")
        say("starting both workers")
        built = stack.enter_context(installation([Worker("inference", (core,)) for core in cores], models))
        _warm(built, files)
        rounds, machines = [], []
        for number in range(chosen.pairs):
            say(f"pair {number + 1} of {chosen.pairs}")
            machines.append(_hashing(cores))
            rounds.append((_round(built, files, (number % 2,), chosen.studies),
                           _round(built, files, (0, 1), 2 * chosen.studies)))  # fmt: skip
    document = {"at_load": os.getloadavg(), "machine": machine(), "models": model_versions(),
                "options": {"studies": chosen.studies, "pairs": chosen.pairs}} | summary(rounds, machines)  # fmt: skip
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    if document["ratio_median"] < _TARGET:
        sys.exit(f"two workers do {document['ratio_median']} times the work of one" + (
            "" if document["calm"] else "; but the machine was disturbed"))  # fmt: skip


def summary(rounds: Sequence[tuple[Round, Round]], machines: Sequence[float]) -> dict[str, Any]:
    """The figures of all pairs of rounds, one worker and two."""
    ratios = [two.studies_per_s / one.studies_per_s for one, two in rounds]
    every = [each for pair in rounds for each in pair]
    disturbance = [each.others_cores + each.stolen_cores for each in every]
    return {
        "ratio_median": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "machine_ratio_median": round(statistics.median(machines), 3),
        "cpu_ms_a_study": {
            "one": round(statistics.median(one.cpu_ms for one, _ in rounds), 1),
            "two": round(statistics.median(two.cpu_ms for _, two in rounds), 1),
        },
        "studies_per_s": {
            "one": round(statistics.median(one.studies_per_s for one, _ in rounds), 2),
            "two": round(statistics.median(two.studies_per_s for _, two in rounds), 2),
        },
        "disturbed_by_cores": round(statistics.median(disturbance), 2),
        "calm": statistics.median(disturbance) <= _CALM_CORES,
        "rounds": [{name: _rounded(value) for name, value in asdict(each).items()} for each in every],
    }


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _warm(built: Installation, files: Sequence[Path]) -> None:
    """Both have done some of each."""
    for number in (0, 1):
        _round(built, files, (number,), _WARM)


def _round(built: Installation, files: Sequence[Path], workers: tuple[int, ...], studies: int) -> Round:
    _listen(built, ())
    names = ", ".join(f"'{stage}'" for stage in _STAGES)
    since = built.ask("SELECT coalesce(max(event_id), 0) FROM events")[0][0]
    # All of them before anybody works: taking them in costs this process a core.
    built.accept([files[place % len(files)] for place in range(studies)])
    before, everybody_s, stolen_s, own_s = built.cpu_s(), machine_cpu_s(), psutil.cpu_times().steal, time.process_time()
    began_s = time.monotonic()
    _listen(built, workers)
    ends = _wait(built, f"SELECT at_s FROM events WHERE event_id > {since} AND what IN ({names})", studies)
    wall_s = time.monotonic() - began_s
    spent, stolen_s = built.cpu_s(), psutil.cpu_times().steal - stolen_s
    spent.subtract(before)
    others_s = machine_cpu_s() - everybody_s - stolen_s - spent.total() - (time.process_time() - own_s)
    edge = int(_EDGE * len(ends))
    middle = ends[edge : len(ends) - edge]
    del spent["redis"]
    return Round(
        workers,
        (len(middle) - 1) / len(_STAGES) / (middle[-1] - middle[0]),
        spent.total() / studies * 1e3,
        spent.total() / wall_s,
        max(0.0, others_s / wall_s),
        stolen_s / wall_s,
    )


def _wait(built: Installation, statement: str, studies: int) -> list[float]:
    """Until all have been through both stages; when each stage of each study ended."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        rows = built.ask(statement)
        if len(rows) >= len(_STAGES) * studies:
            return sorted(row[0] for row in rows)
        time.sleep(0.5)
    raise RuntimeError(f"{len(rows)} stages of {studies} studies are done after {_PATIENCE_S:.0f} s")


def _listen(built: Installation, workers: tuple[int, ...]) -> None:
    """From now on these take messages, and no others do."""
    control = built.deployment.celery.control
    for number, name in enumerate(built.node_names("inference")):
        change = control.add_consumer if number in workers else control.cancel_consumer
        for queue in ROLES["inference"]:
            answers = change(queue, destination=[name], reply=True, timeout=5, limit=1)
            assert answers, "a worker does not answer"


def _hashing(cores: Sequence[int], seconds: float = 1.5) -> float:
    """How much more two cores do than one of them, of something that shares nothing."""

    def together(some: Sequence[int]) -> int:
        command = [sys.executable, "-c", _HASHING, str(seconds)]
        running = [
            subprocess.Popen(["taskset", "--cpu-list", str(core), *command], stdout=subprocess.PIPE, text=True)
            for core in some
        ]
        return sum(int(each.communicate()[0]) for each in running)

    alone = [together([core]) for core in cores]
    return together(cores) / statistics.mean(alone)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--studies", type=int, default=60, help="for one worker a round (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=6, help="of rounds (default: %(default)s)")
    parser.add_argument(
        "--json", type=Path, default=_CACHE / "workers.json", help="written here (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
