"""What `fractureai status` says of an installation, over a real queue, ledger and store."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from fractureai.bootstrap import ROLES, Deployment
from fractureai.cli import cli
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Channel, Subscriber
from fractureai.domain.study import Stage, WorkState
from fractureai.embedded.running import announced
from fractureai.settings import QueueGroup, Settings
from fractureai.status import FRESH_S, look
from fractureai.storage.ledger.sql import SqlLedger
from tests.browser.samples import View, add
from tests.house import House, open_house
from tests.unit.tasks.test_queue import server

__all__ = ["server"]

_ALL = ("web", *ROLES, "scheduler")


@pytest.fixture
def house(server: redis.Redis, tmp_path: Path) -> Iterator[House]:
    server.flushall()
    url = f"redis+socket://{server.connection_pool.connection_kwargs['path']}"
    with open_house(Settings(data_dir=tmp_path / "data", queue=QueueGroup(url=url)), tmp_path / "other") as built:
        yield built


def _beat(built: Deployment, *roles: str) -> None:
    for role in roles:
        built.heartbeats.beat(f"{role}-1@host", role, software="0.1.0")


def test_an_installation_whose_processes_all_beat_is_well(house: House) -> None:
    _beat(house.deployment, *_ALL)
    house.study(state=WorkState.OPEN)
    found = look(house.deployment)
    assert (found.problems, found.exit_code) == ([], 0)
    assert {each.role for each in found.processes} == set(_ALL)
    assert all(0 <= each.age_s < FRESH_S for each in found.processes)
    assert found.work is not None
    assert [(each.stage, each.open_studies) for each in found.work] == [(Stage.CLASSIFY, 1)]
    assert found.depths is not None
    assert found.depths.waiting["classify"] == 0


def test_a_process_that_ended_is_forgotten_and_one_that_died_is_silent(house: House, server: redis.Redis) -> None:
    # The intake delivers results, too: no process of its own is missed.
    _beat(house.deployment, *(role for role in _ALL if role != "delivery"))
    assert look(house.deployment).exit_code == 0
    house.deployment.heartbeats.end("reports-1@host")
    # As a minute ago: that much less is left of its time.
    key = "fractureai:process:inference-1@host"
    server.pexpire(key, server.pttl(key) - 60_000)
    found = look(house.deployment)
    assert found.exit_code == 1
    assert found.problems == [
        "inference-1@host has been silent for 60 s.",
        "No process of the role inference is alive.",
        "No process of the role reports is alive.",
    ]


def test_what_failed_is_shown_with_its_reason_and_without_a_label(house: House) -> None:
    _beat(house.deployment, *_ALL)
    failed = house.study(state=WorkState.OPEN)
    claim = house.ledger.claim(failed.study_id, Stage.CLASSIFY, owner="a", now_s=time.time(), lease_s=9)
    house.ledger.finish(
        claim, WorkState.FAILED, now_s=time.time(), assessment=None, region=None, max_fracture_probability=None,
        reasons=[Reason("internal_error")],
    )  # fmt: skip
    settings = house.deployment.settings
    ledger = SqlLedger.open(settings.ledger_url, subscribers=(Subscriber(Channel.DICOM, "pacs", only_done=True),))
    add(dataclasses.replace(house.ports, ledger=ledger), View("Meier.dcm", probability=0.9), label="Meier")
    (delivery_id,) = ledger.due_deliveries(now_s=time.time() + 1, limit=9)
    delivery = ledger.claim_delivery(delivery_id, now_s=time.time(), lease_s=1)
    assert delivery is not None
    ledger.give_up_delivery(delivery, "refused", now_s=time.time())
    ledger.close()
    words = ["status", "--data", str(settings.data_dir)]
    assert CliRunner().invoke(cli, words).exit_code == 4, "no service runs there yet"
    with announced(settings.data_dir, queue_url=settings.queue.url):
        shown, told = (CliRunner().invoke(cli, [*words, *more]) for more in ([], ["--json"]))
    assert (shown.exit_code, told.exit_code) == (1, 1), shown.output
    document = json.loads(told.stdout)
    assert (document["status"], document["deliveries"]) == ("degraded", {"waiting": 0, "failed": 1})
    (failure,) = document["failures"]
    assert failure["study_id"] == failed.study_id
    assert failure["reasons"]
    for text in (shown.output, told.output):
        assert failed.study_id in text
        assert "Meier" not in text
    assert "degraded" in shown.output.splitlines()[0]
    assert "0 waiting, 1 failed" in shown.output
    assert CliRunner().invoke(cli, words).exit_code == 4, "and none any more"


def test_each_part_that_is_away_is_named(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "none", models_dir=tmp_path / "models", queue=QueueGroup(url=f"redis+socket://{tmp_path}/s")
    )
    found = look(Deployment(settings))
    assert found.exit_code == 4
    assert set(found.away) == {"queue", "ledger", "store"}
    assert [problem.split(":")[0] for problem in found.problems] == ["queue", "ledger", "store", "models"]
    assert not (tmp_path / "none").exists(), "a look makes nothing"
