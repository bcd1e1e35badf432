"""The figures side by side, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]

_ROWS: tuple[tuple[str, Callable[[Figures], float | None], str], ...] = (
    ("studies", lambda it: it["studies"], "{:.0f}"),
    ("took the whole way", lambda it: it["complete"], "{:.0f}"),
    ("studies/s", lambda it: it["studies_per_s"], "{:.2f}"),
    ("CPU a study, ms", lambda it: it["cpu_s_per_study"] * 1e3, "{:.0f}"),
    ("latency p50, s", lambda it: it["latency_s"]["p50"], "{:.2f}"),
    ("latency p95, s", lambda it: it["latency_s"]["p95"], "{:.2f}"),
    ("latency alone, s", lambda it: it["latency_alone_s"], "{:.2f}"),
    ("peak RSS, MB", lambda it: it["peak_memory_mb"]["rss"], "{:.0f}"),
    ("peak PSS, MB", lambda it: it["peak_memory_mb"]["pss"], "{:.0f}"),
    ("idle, cores", lambda it: it["idle_cores"], "{:.3f}"),
    ("others used, cores", lambda it: it["others_cores"], "{:.2f}"),
)


def side_by_side(subjects: Mapping[str, Figures]) -> str:
    """The main table: a row a figure, a column a subject."""
    rows = [["", *subjects]]
    for title, figure, form in _ROWS:
        values = [figure(figures) for figures in subjects.values()]
        rows.append([title, *("–" if value is None else form.format(value) for value in values)])
    return _aligned(rows)


def by_step(figures: Figures) -> str:
    """Processor time of each step of a study, ms."""
    steps = figures["cpu_s_per_study_by_step"]
    rows = [[step, f"{seconds * 1e3:.1f}"] for step, seconds in steps.items()]
    return _aligned([["step", "CPU ms"], *rows, ["sum", f"{sum(steps.values()) * 1e3:.1f}"]])


def by_process(figures: Figures) -> str:
    """Processor time of a study and peak memory by process."""
    memory = figures["peak_memory_mb"]["by_process"]
    cpu = figures["cpu_s_per_study_by_process"]
    rows = [["process", "number", "CPU ms", "largest RSS MB", "RSS MB", "PSS MB"]]
    for label in memory:
        peak = memory[label]
        rows.append([
            label, str(peak["processes"]), f"{cpu.get(label, 0.0) * 1e3:.1f}",
            f"{peak['rss_largest']:.0f}", f"{peak['rss']:.0f}", f"{peak['pss']:.0f}",
        ])  # fmt: skip
    return _aligned(rows)


def targets(results: Sequence[Figures]) -> str:
    """Each target, what was measured, and whether it holds."""
    rows = [
        [each["target"], f"{each['measured']:.2f}", "holds" if each["holds"] else "DOES NOT HOLD"] for each in results
    ]
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
