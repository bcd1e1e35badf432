"""What the product promises, held against the figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVICE, IN_PROCESS, HANDLER = "service", "in process", "handler"
_FASTER_THAN_HANDLER = 6.0
_CPU_OVER_IN_PROCESS = 1.3
_MOST_MB = {"inference worker": 700, "web": 200}
_MOST_MB_WHOLE = 1500


def judge(subjects: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every target whose subjects were measured: what is promised, what was measured, whether it holds.

    Memory is read in the strictest way: the sum of the resident sizes of all processes that go by the name, pages they
    share counted in each.
    """
    if SERVICE not in subjects:
        return []
    found = []
    service = subjects[SERVICE]
    if HANDLER in subjects:
        ratio = service["studies_per_s"] / subjects[HANDLER]["studies_per_s"]
        title = f"studies/s: at least {_FASTER_THAN_HANDLER:g} times the handler's"
        found.append(_judged(title, ratio, ratio >= _FASTER_THAN_HANDLER))
    if IN_PROCESS in subjects:
        ratio = service["cpu_s_per_study"] / subjects[IN_PROCESS]["cpu_s_per_study"]
        title = f"CPU a study: at most {_CPU_OVER_IN_PROCESS:g} times the one process's"
        found.append(_judged(title, ratio, ratio <= _CPU_OVER_IN_PROCESS))
    memory = service["peak_memory_mb"]
    for label, most_mb in _MOST_MB.items():
        peak_mb = memory["by_process"][label]["rss"]
        found.append(_judged(f"{label}, MB resident: at most {most_mb}", peak_mb, peak_mb <= most_mb))
    whole_mb = memory["rss"]
    found.append(_judged(f"whole service, MB resident: at most {_MOST_MB_WHOLE}", whole_mb, whole_mb <= _MOST_MB_WHOLE))
    return found


def _judged(target: str, measured: float, holds: bool) -> dict[str, Any]:
    return {"target": target, "measured": round(measured, 2), "holds": holds}
