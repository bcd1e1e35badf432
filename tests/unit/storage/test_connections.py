"""What a transaction costs and promises, and how trouble with the database is told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.storage.ledger import connections as module
from fractureai.storage.ledger.connections import Connections

_NORMAL, _FULL = 1, 2


def test_only_promises_wait_for_the_disk(tmp_path: Path) -> None:
    connections = Connections(f"sqlite:///{tmp_path / 'a.sqlite'}")
    for durable in (False, True, True, False):
        with connections.write(durable=durable) as connection:
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
            assert level == (_FULL if durable else _NORMAL)
    connections.close()


def _insert_and_fail(connection: Connection) -> None:
    connection.execute(text("INSERT INTO t VALUES (1)"))
    raise ZeroDivisionError


def test_an_error_rolls_back(tmp_path: Path) -> None:
    connections = Connections(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with connections.write(durable=False) as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    with pytest.raises(ZeroDivisionError), connections.write(durable=False) as connection:
        _insert_and_fail(connection)
    with connections.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0
    connections.close()


def test_a_lock_nobody_gives_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_S", 0.05)
    connections = Connections(f"sqlite:///{tmp_path / 'a.sqlite'}")
    other = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TransientFailure) as failure, connections.write(durable=False):
        pass
    assert failure.value.code == "ledger_unavailable"
    other.close()
    with connections.write(durable=False):
        pass
    connections.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"this is not a database" * 100)
    connections = Connections(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with pytest.raises(TransientFailure), connections.read() as connection:
        connection.execute(text("SELECT * FROM t"))
    connections.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransientFailure, match=f"{tmp_path / 'gone'} is not there"):
        Connections(f"sqlite:///{tmp_path / 'gone' / 'a.sqlite'}").engine()


def test_memory_is_no_place_for_a_ledger() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(BrokenDeployment):
            Connections(url).engine()
