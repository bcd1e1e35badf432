"""The servers that every way of starting the application needs, once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgresql
from tests.deployment.composed import Composition, missing
from tests.integration.waiting import until
from tests.small_models import small_models


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """The queue, PostgreSQL and S3, migrated; no process of the application yet."""
    reason = missing() or postgresql.missing()
    if reason:
        pytest.skip(reason)
    with postgresql.running() as ledger_url:
        composition = Composition(tmp_path_factory.mktemp("composed"), ledger_url)
        try:
            for name in ("queue", "s3"):
                composition.start(name)
                until(lambda name=name: composition.serves(name), timeout_s=100)
            migrated = composition.run("migrate")
            assert (migrated.returncode, migrated.stderr) == (0, ""), migrated.stderr
            assert migrated.stdout == "The bucket was made. Ledger and store are ready.\n"
            yield composition
        finally:
            composition.kill()


@pytest.fixture(scope="session")
def few_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The setting that makes a worker start in a second, where only its start is looked at."""
    folder = small_models(tmp_path_factory.mktemp("models"))
    return {"FRACTUREAI_MODELS_DIR": str(folder)}


@pytest.fixture(scope="session")
def key(running: Composition) -> str:
    """Made before the web, which does not start before a key or an account exists."""
    return running.run("scheduler", "keys", "create", "ward", "--scope", "submit", "--scope", "read").stdout.strip()
