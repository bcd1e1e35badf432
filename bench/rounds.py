"""Feed the subjects in rounds, in an order that the seed fixes, so that the machine's noise hits all alike."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.figures import Tally
from bench.processes import MemoryWatch, ProcessTree, cpu_clock_s, spent
from bench.subjects import Subject

_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent, and how.

    Attributes
    ----------
    alone:
        Files sent one at a time to a subject at rest, for the latency that a single reader sees.
    senders:
        Files on their way at the same time, otherwise.
    idle_s:
        How long a resting subject's own consumption is watched.
    """

    files: Sequence[Path]
    rounds: int
    senders: int
    seed: int
    alone: int = 5
    idle_s: float = 5.0


def measure(subjects: Mapping[str, Subject], plan: Plan, say: Callable[[str], None]) -> dict[str, Tally]:
    """Run everything; the subjects are started and have answered once."""
    trees = {name: ProcessTree(subject.pid, subject.labels) for name, subject in subjects.items()}
    tallies = {name: Tally() for name in subjects}
    for name, subject in subjects.items():
        say(f"{name}: warming up")
        subject.run([plan.files[number % len(plan.files)] for number in range(_WARM_UP)], senders=1)
        tallies[name].alone = subject.run(plan.files[: plan.alone], senders=1)
    for name, cores in _idle(trees, plan.idle_s).items():
        tallies[name].idle_cores = cores
    order = random.Random(plan.seed)
    for number, files in enumerate(shares(plan.files, plan.rounds), start=1):
        for name in order.sample(list(subjects), len(subjects)):
            say(f"round {number} of {plan.rounds}: {name}, {len(files)} studies")
            _round(subjects[name], trees[name], tallies[name], files, plan.senders)
    return tallies


def shares(files: Sequence[Path], rounds: int) -> list[Sequence[Path]]:
    """Cut into ``rounds`` parts whose lengths differ by one at most; none is empty."""
    bounds = [len(files) * number // rounds for number in range(rounds + 1)]
    return [files[start:end] for start, end in itertools.pairwise(bounds) if end > start]


def _round(subject: Subject, tree: ProcessTree, tally: Tally, files: Sequence[Path], senders: int) -> None:
    before, everybody_s, own_s = tree.cpu_s(), machine_cpu_s(), _own_cpu_s()
    with MemoryWatch(tree, tally.memory):
        outcomes = subject.run(files, senders=senders)
    cpu_s = spent(before, tree.cpu_s())
    others_s = machine_cpu_s() - everybody_s - (_own_cpu_s() - own_s) - sum(cpu_s.values())
    tally.add_round(outcomes, cpu_s, max(0.0, others_s))


def _idle(trees: Mapping[str, ProcessTree], seconds: float) -> dict[str, float]:
    """Cores that each subject uses while nothing is asked of it."""
    before = {name: tree.cpu_s() for name, tree in trees.items()}
    began_s = time.monotonic()
    time.sleep(seconds)
    past_s = time.monotonic() - began_s
    return {name: sum(spent(before[name], tree.cpu_s()).values()) / past_s for name, tree in trees.items()}


def machine_cpu_s() -> float:
    """Processor time that everything on this machine has used."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0))


def _own_cpu_s() -> float:
    """Processor time of the sender: this process."""
    return cpu_clock_s(psutil.Process().pid)
