"""Connections and transactions, the same for SQLite and PostgreSQL; and what their errors mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from fractureai.errors import BrokenDeployment, TransientFailure

_BUSY_S = 10.0
_POOL_SIZE = 4
_OLDEST_SQLITE = (3, 35)  # RETURNING
_LEVEL = "fractureai_synchronous"

# What is wrong with the question rather than with the database; a retry would ask the same again.
_OURS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)


class Connections:
    """A pool a process; short transactions; every failure of the database as ``TransientFailure``.

    A connection must never cross a fork (SQLite would lose its locks, PostgreSQL would get two voices on one wire),
    so a child starts with a pool of its own, and what it inherited is left unused and unclosed.
    """

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url)
        self._lock = threading.Lock()
        self._inherited: list[Engine] = []
        self._engine: Engine | None = None
        self._pid = 0

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.url.get_backend_name()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A look without a lock. Each statement sees its own moment, so read first what must be older."""
        with _translated(), self.engine().connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[Connection]:
        """One transaction, committed at the end of the block, rolled back on an error.

        ``durable`` says whether it must survive a power cut (a study we promised to keep) or may be forgotten by one
        (a stage that would merely run again). A killed process loses neither.
        """
        with _translated(), self.engine().connect() as connection:
            if self.dialect == "sqlite":
                _begin_immediate(connection, durable=durable)
            elif not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection
            connection.commit()

    def engine(self) -> Engine:
        """The engine of the process that asks."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._start()
        if self._engine is None:
            raise ValueError("the ledger is closed")
        return self._engine

    def close(self) -> None:
        """Give connections back."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
        self._engine = None
        self._pid = os.getpid()

    def _start(self) -> None:
        if self._engine is not None:
            self._inherited.append(self._engine)
        self._engine = _sqlite(self.url) if self.dialect == "sqlite" else _postgresql(self.url)
        self._pid = os.getpid()


def _sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise BrokenDeployment("the ledger needs a file; a database in memory is forgotten")
    folder = Path(url.database).parent
    if not folder.is_dir():  # not mounted yet, perhaps
        raise TransientFailure("ledger_unavailable", f"{folder} is not there: mount it, or run `fractureai migrate`")
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": _BUSY_S}, pool_size=_POOL_SIZE, max_overflow=16
    )
    if engine.dialect.dbapi.sqlite_version_info < _OLDEST_SQLITE:  # type: ignore[union-attr]
        raise BrokenDeployment("SQLite 3.35 or newer is needed")
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # We say BEGIN ourselves: the driver's own begins too late, as a reader that cannot always become a writer.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediate(connection: Connection, *, durable: bool) -> None:
    """Take the write lock at once (so that no transaction fails half way), with the sync the promise asks for.

    In WAL mode NORMAL syncs at checkpoints only, FULL at every commit: 0.05 ms against 0.2 to 0.4 ms a transaction on
    an idle ext4 disk, several on a busy one.
    """
    level = "FULL" if durable else "NORMAL"
    if connection.info.get(_LEVEL, "NORMAL") != level:
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
        connection.info[_LEVEL] = level
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    # One connection a worker process, a few for the web's threads; tested before use, because a database is
    # restarted now and then and a stale connection must not cost a study an attempt.
    return create_engine(
        url, hide_parameters=True, pool_size=_POOL_SIZE, max_overflow=4, pool_timeout=_BUSY_S, pool_pre_ping=True
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _OURS:
        raise
    except (exc.DBAPIError, exc.TimeoutError) as error:
        raise TransientFailure("ledger_unavailable", type(getattr(error, "orig", None) or error).__name__) from error
