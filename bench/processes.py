"""What a tree of processes costs: processor time, and resident memory while it works."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

Labels = Sequence[tuple[str, str]]
"""What a command line contains, and what such a process is called; the first that fits counts."""


@dataclass(slots=True)
class Peak:
    """The most memory of the processes of one label.

    Attributes
    ----------
    largest_rss_bytes:
        Of the largest single process.
    rss_bytes:
        Of all of the label at one moment; a page shared by n processes counts n times.
    pss_bytes:
        The same; a page shared by n processes counts once.
    processes:
        Most of them at one moment.
    """

    largest_rss_bytes: int = 0
    rss_bytes: int = 0
    pss_bytes: int = 0
    processes: int = 0

    def note(self, moment: Sequence[tuple[int, int]]) -> None:
        """Take one moment in: ``(rss, pss)`` of every process of the label."""
        self.largest_rss_bytes = max(self.largest_rss_bytes, *(rss_bytes for rss_bytes, _ in moment))
        self.rss_bytes = max(self.rss_bytes, sum(rss_bytes for rss_bytes, _ in moment))
        self.pss_bytes = max(self.pss_bytes, sum(pss_bytes for _, pss_bytes in moment))
        self.processes = max(self.processes, len(moment))


@dataclass(slots=True)
class MemoryPeaks:
    """Peaks by label, and of the whole tree at one moment."""

    by_label: dict[str, Peak] = field(default_factory=lambda: defaultdict(Peak))
    rss_bytes: int = 0
    pss_bytes: int = 0

    def note(self, moment: Sequence[tuple[str, int, int]]) -> None:
        """Take one moment in: ``(label, rss, pss)`` of every process."""
        by_label: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for label, rss_bytes, pss_bytes in moment:
            by_label[label].append((rss_bytes, pss_bytes))
        for label, sizes in by_label.items():
            self.by_label[label].note(sizes)
        self.rss_bytes = max(self.rss_bytes, sum(rss_bytes for _, rss_bytes, _ in moment))
        self.pss_bytes = max(self.pss_bytes, sum(pss_bytes for _, _, pss_bytes in moment))


class ProcessTree:
    """A process and everything that descends from it.

    Parameters
    ----------
    pid:
        The root.
    labels:
        Names for its members; what fits none is called ``other``.
    """

    def __init__(self, pid: int, labels: Labels = ()) -> None:
        self._root = psutil.Process(pid)
        self._labels = labels

    def cpu_s(self) -> dict[str, float]:
        """Processor time until now by label: of the living members, and of their children that have ended."""
        total: dict[str, float] = defaultdict(float)
        for process in self._members():
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                times = process.cpu_times()
                total[self._label(process)] += cpu_clock_s(process.pid) + times.children_user + times.children_system
        return dict(total)

    def memory(self) -> list[tuple[str, int, int]]:
        """``(label, rss, pss)`` of every member now, bytes."""
        found = []
        for process in self._members():
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                found.append((self._label(process), *resident_bytes(process.pid)))
        return found

    def _members(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def _label(self, process: psutil.Process) -> str:
        command = " ".join(process.cmdline())
        return next((label for part, label in self._labels if part in command), "other")


class MemoryWatch:
    """Looks at a tree's memory now and then while the context is open."""

    def __init__(self, tree: ProcessTree, peaks: MemoryPeaks, *, every_s: float = 0.5) -> None:
        self._tree = tree
        self._peaks = peaks
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._peaks.note(self._tree.memory())

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self._peaks.note(self._tree.memory())


def cpu_clock_s(pid: int) -> float:
    """Processor time of one process, all its threads, to the nanosecond (``/proc/PID/stat`` knows 10 ms only).

    Linux makes the clock's number from the process id (kernel, ``include/linux/posix-timers.h``, CPUCLOCK_SCHED).
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> tuple[int, int]:
    """Resident and proportional set size of one process."""
    kib = dict(_fields(Path(f"/proc/{pid}/smaps_rollup").read_text()))
    return kib["Rss"] * 1024, kib["Pss"] * 1024


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """The difference of two readings of :meth:`ProcessTree.cpu_s`, by label.

    A child that is replaced moves its time to its parent's label, so a single label may fall; the sum does not.
    """
    return {label: after.get(label, 0.0) - before.get(label, 0.0) for label in {**before, **after}}


def _fields(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        yield name, int(rest.split()[0])
