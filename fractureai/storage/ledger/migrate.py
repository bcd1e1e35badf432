"""Bring the tables up to date, safely when several processes start at once."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, exc

from fractureai.errors import TransientFailure
from fractureai.storage.ledger.connections import Connections
from fractureai.storage.ledger.schema import HEAD

_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number will do, as long as nothing else in the database locks it.
_ADVISORY_LOCK = 0x46726163
_WAL_TRIES = 100
_WAL_PAUSE_S = 0.05


def upgrade(connections: Connections) -> None:
    """Run the migrations that are missing, all in one transaction that only one process can hold."""
    if connections.dialect == "sqlite":
        _write_ahead(connections)
    with connections.write(durable=True) as connection:
        _alone(connection)
        if MigrationContext.configure(connection).get_current_revision() != HEAD:
            command.upgrade(_config(connection), "head")


def downgrade(connections: Connections, revision: str) -> None:
    """Go back to ``revision`` (``base`` removes every table)."""
    with connections.write(durable=True) as connection:
        _alone(connection)
        command.downgrade(_config(connection), revision)


def _alone(connection: Connection) -> None:
    """On SQLite the write lock is already ours, from BEGIN IMMEDIATE on."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _write_ahead(connections: Connections) -> None:
    """Set the journal mode, which stays with the file.

    SQLite does not wait for its lock here as it does elsewhere when two processes meet on a new file, so we do.
    """
    for left in reversed(range(_WAL_TRIES)):
        try:
            with connections.engine().connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
        except exc.OperationalError as error:
            if not left:
                raise TransientFailure("ledger_unavailable", "journal mode") from error
            time.sleep(_WAL_PAUSE_S)
