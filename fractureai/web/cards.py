"""Model cards as blocks that a template can draw: free-form nested figures become tables.

A card's ``metrics`` and ``training`` are whatever their author measured; nothing here knows a metric by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fractureai.web.words import figure, spoken


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a card.

    Attributes
    ----------
    columns:
        Headings; empty for a table of names and values.
    rows:
        Cells; the first of each row is its heading.
    parts:
        Blocks within this one.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    parts: tuple[Block, ...] = ()


def block_of(title: str, data: Any) -> Block:
    """Draw any JSON value as a block."""
    if isinstance(data, Mapping):
        return _of_mapping(title, data)
    if _is_list(data) and data and all(isinstance(entry, Mapping) for entry in data):
        return _of_mapping(title, {str(number): entry for number, entry in enumerate(data, start=1)})
    return Block(title, rows=((spoken(title), _cell(data)),))


def _of_mapping(title: str, data: Mapping[str, Any]) -> Block:
    plain = {key: value for key, value in data.items() if not _is_nested(value)}
    nested = {key: value for key, value in data.items() if _is_nested(value)}
    matrix = _matrix(title, nested)
    rows = tuple((spoken(key), _cell(value)) for key, value in plain.items())
    if matrix is None:
        return Block(title, rows=rows, parts=tuple(block_of(spoken(key), value) for key, value in nested.items()))
    return Block(title, rows=rows, parts=(matrix,)) if rows else matrix


def _matrix(title: str, nested: Mapping[str, Any]) -> Block | None:
    """Records of plain values with mostly the same keys: one table, a row each."""
    records = list(nested.values())
    if len(records) < 2 or not all(isinstance(record, Mapping) for record in records):
        return None
    if any(_is_nested(value) for record in records for value in record.values()):
        return None
    keys = list(dict.fromkeys(key for record in records for key in record))
    filled = sum(len(record) for record in records)
    if filled * 2 < len(keys) * len(records):
        return None
    rows = tuple((spoken(name), *(_cell(record.get(key)) for key in keys)) for name, record in nested.items())
    return Block("", ("", *map(spoken, keys)), rows) if title == "" else Block(title, ("", *map(spoken, keys)), rows)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not _is_measured(value)
    return _is_list(value) and any(isinstance(entry, Mapping) for entry in value)


def _is_measured(value: Any) -> bool:
    """A figure with its interval is one value, not a table."""
    return isinstance(value, Mapping) and set(value) == {"value", "low", "high"}


def _cell(value: Any) -> str:
    """One value; a short list on one line (an interval keeps its brackets)."""
    if _is_measured(value):
        return f"{_cell(value['value'])} ({_cell(value['low'])} to {_cell(value['high'])})"
    if _is_list(value):
        inner = ", ".join(_cell(entry) for entry in value)
        return f"[{inner}]" if value and all(isinstance(entry, int | float) for entry in value) else inner
    return figure(value)
