"""From single outcomes to the figures of one subject. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.processes import MemoryPeaks


@dataclass(frozen=True, slots=True)
class Outcome:
    """One study, sent and finished.

    Attributes
    ----------
    sent_at_s, final_at_s:
        On the wall clock of this machine; final is when the result is there, not when somebody asks for it.
    step_cpu_s:
        Processor time of each step, where the subject can tell.
    complete:
        It took the whole way, to a report with a fracture probability.
    """

    sent_at_s: float
    final_at_s: float
    complete: bool
    step_cpu_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def latency_s(self) -> float:
        """From the first byte sent to the result."""
        return self.final_at_s - self.sent_at_s


@dataclass(slots=True)
class Tally:
    """Everything seen of one subject, over all rounds."""

    alone: list[Outcome] = field(default_factory=list)
    loaded: list[Outcome] = field(default_factory=list)
    wall_s: float = 0.0
    process_cpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    others_cpu_s: float = 0.0
    idle_cores: float = 0.0
    memory: MemoryPeaks = field(default_factory=MemoryPeaks)

    def add_round(self, outcomes: Sequence[Outcome], cpu_s: Mapping[str, float], others_cpu_s: float) -> None:
        """Take in one round: all its studies, what the subject's processes used, what everybody else used."""
        self.loaded += outcomes
        self.wall_s += max(each.final_at_s for each in outcomes) - min(each.sent_at_s for each in outcomes)
        self.others_cpu_s += others_cpu_s
        for label, seconds in cpu_s.items():
            self.process_cpu_s[label] += seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed (nearest rank).

    Raises
    ------
    ValueError
        If there is no value, or ``share`` is not within 0..1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs a value and a share within 0..1")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summary(tally: Tally) -> dict[str, object]:
    """The figures of one subject, as in the JSON file."""
    count = len(tally.loaded)
    latencies = [each.latency_s for each in tally.loaded]
    return {
        "studies": count,
        "complete": sum(each.complete for each in tally.loaded),
        "studies_per_s": count / tally.wall_s,
        "cpu_s_per_study": sum(tally.process_cpu_s.values()) / count,
        "cpu_s_per_study_by_process": {label: value / count for label, value in sorted(tally.process_cpu_s.items())},
        "cpu_s_per_study_by_step": mean_steps(tally.loaded),
        "latency_s": {"p50": percentile(latencies, 0.5), "p95": percentile(latencies, 0.95)},
        "latency_alone_s": _median([each.latency_s for each in tally.alone]),
        "idle_cores": tally.idle_cores,
        "others_cores": tally.others_cpu_s / tally.wall_s,
        "peak_memory_mb": {
            "rss": _mb(tally.memory.rss_bytes),
            "pss": _mb(tally.memory.pss_bytes),
            "by_process": {
                label: {
                    "processes": peak.processes,
                    "rss_largest": _mb(peak.largest_rss_bytes),
                    "rss": _mb(peak.rss_bytes),
                    "pss": _mb(peak.pss_bytes),
                }
                for label, peak in sorted(tally.memory.by_label.items())
            },
        },
    }


def mean_steps(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Mean processor time of each step over all studies; a step that a study skipped counts 0."""
    names = dict.fromkeys(name for each in outcomes for name in each.step_cpu_s)
    return {name: sum(each.step_cpu_s.get(name, 0.0) for each in outcomes) / len(outcomes) for name in names}


def _median(values: Sequence[float]) -> float | None:
    return percentile(values, 0.5) if values else None


def _mb(size_bytes: int) -> float:
    return round(size_bytes / 1e6, 1)
