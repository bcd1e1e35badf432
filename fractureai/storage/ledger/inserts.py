"""Rows that may be there already."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert one row; ``False``, and nothing changed, if its primary key is there already."""
    return connection.execute(_statement(connection.dialect.name, table), values).rowcount == 1


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows whose primary keys are not there yet."""
    if rows:
        connection.execute(_statement(connection.dialect.name, table), rows)


@functools.cache
def _statement(dialect: str, table: Table) -> Insert:
    statement: Insert = _INSERT[dialect](table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))
    # SQLAlchemy otherwise drops the driver's count of inserted rows on some drivers.
    return statement.execution_options(preserve_rowcount=True)
