"""Reading the CSV files that datasets come with, with errors that name file, line and column."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fractureai.errors import BrokenDeployment


def rows(path: Path, required: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the lines of a CSV file with a header, stripped, keyed by column.

    Raises
    ------
    BrokenDeployment
        If the file is missing or lacks a ``required`` column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in required if name not in (reader.fieldnames or [])]
            if missing:
                raise BrokenDeployment(f"{path} lacks the column(s) {', '.join(missing)}")
            for row in reader:
                yield {name: (value or "").strip() for name, value in row.items() if name is not None}
    except OSError as error:
        raise BrokenDeployment(f"{path} cannot be read: {error.strerror}") from error


_TRUE = frozenset({"1", "true", "yes", "y", "fracture", "fractured", "positive", "abnormal"})
_FALSE = frozenset({"0", "false", "no", "n", "normal", "negative", "intact", ""})


def flag(row: Mapping[str, str], column: str) -> bool:
    """A yes or no, in the spellings people use; empty means no.

    Raises
    ------
    ValueError
        For anything else, naming the value.
    """
    value = row.get(column, "").lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError(f"{column} is {value!r}, not a yes or no")
