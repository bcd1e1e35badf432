"""Results as a table on the screen, and as an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fractureai.domain.reasons import WARNINGS

STYLES = {"fracture": "bold red", "suspected": "yellow", "inconclusive": "magenta", "no_fracture": "green"}
"""Colour only helps: the word stands beside it."""

WORDS = {
    "fracture": "fracture",
    "suspected": "suspected",
    "inconclusive": "inconclusive",
    "no_fracture": "no fracture",
}


def print_results(results: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print one row a study, and below the reasons by study; ``results`` as in ``result.json``."""
    table = Table(title="Results", title_justify="left", caption="Not for diagnostic use.", caption_justify="left")
    table.add_column("study", overflow="fold")
    table.add_column("views", justify="right")
    table.add_column("region")
    table.add_column("assessment")
    table.add_column("probability", justify="right")
    explained = []
    for result in results:
        table.add_row(*_cells(result))
        if result["reasons"]:
            explained.append(result)
    console.print(table)
    for result in explained:
        console.print(Text(result["label"], "bold"))
        for reason in result["reasons"]:
            style = "bold red" if reason["code"] in WARNINGS else ""
            console.print(Padding(Text(reason["sentence"], style), (0, 0, 0, 2)))


def exit_code(results: Iterable[Mapping[str, Any]]) -> int:
    """0 if every study was read, 1 if one was rejected or failed."""
    return int(any(result["state"] != "done" for result in results))


def _cells(result: Mapping[str, Any]) -> list[Text]:
    state, assessment = result["state"], result["assessment"]
    verdict = Text(WORDS[assessment], STYLES[assessment]) if state == "done" else Text(state, "bold")
    probability = result["max_fracture_probability"]
    return [
        Text(result["label"]),
        Text(str(len(result["images"]))),
        Text(result["region"] or "–"),
        verdict,
        Text("–" if probability is None else f"{probability:.2f}"),
    ]
