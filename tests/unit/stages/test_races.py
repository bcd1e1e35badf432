"""One study, many hands at once: one result, one report, one delivery. Threads that really race, on a real ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fractureai.domain import keys
from fractureai.domain.study import Stage, WorkState
from fractureai.stages import accept, classify, detect, explain, intake, reconcile, report
from fractureai.storage.ledger.sql import SqlLedger
from tests.pictures import png
from tests.unit.stages.conftest import House

_HANDS = 4
_STAGES = (classify.run, detect.run, explain.run, report.run)


@pytest.fixture
def told(house: House) -> House:
    """A house whose finished studies are told to somebody."""
    url = str(house.ledger._connections.url)
    house.ledger.close()
    house.ledger = SqlLedger.open(url, outbox=True)
    return house


def _at_once(act: Callable[[], str]) -> list[str]:
    start = threading.Barrier(_HANDS)

    def go(_: int) -> str:
        start.wait()
        return act()

    with ThreadPoolExecutor(_HANDS) as pool:
        return list(pool.map(go, range(_HANDS)))


def test_of_many_workers_at_one_stage_one_does_it(told: House) -> None:
    study = told.accepted(png())
    for run in _STAGES:
        assert sorted(_at_once(lambda run=run: run(study.study_id, told))) == ["done"] + ["not_due"] * (_HANDS - 1)
    assert [event.what for event in told.ledger.history(study.study_id, site="local")].count("done") == 1
    assert len(told.ledger.due_deliveries(now_s=told.now_s, limit=9)) == 1


def test_every_message_five_times_and_in_any_order_makes_one_result(told: House) -> None:
    studies = [told.accepted(png(seed=seed)) for seed in range(3)]
    messages = [(run, study.study_id) for run in _STAGES for study in studies] * 5
    for _ in range(4):  # what comes too early does nothing, and comes again
        with ThreadPoolExecutor(_HANDS) as pool:
            list(pool.map(lambda message: message[0](message[1], told), messages))
    for study in studies:
        row = told.ledger.study(study.study_id, site="local")
        assert row is not None
        assert (row.state, row.attempts) == (WorkState.DONE, 1)
        result = json.loads(told.store.get(keys.result_json("local", study.study_id)))
        assert result["state"] == "done"
    assert len(told.ledger.due_deliveries(now_s=told.now_s, limit=99)) == len(studies)
    assert len(told.ledger.finished_since(site="local", cursor="", limit=99).rows) == len(studies)


def test_a_batch_that_many_unpack_is_unpacked_once(told: House) -> None:
    batch = told.batch(*((f"{number}.png", png(seed=number)) for number in range(3)))
    assert sorted(_at_once(lambda: intake.run(batch.batch_id, told))) == ["done"] + ["not_due"] * (_HANDS - 1)
    row = told.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert row.counts[WorkState.OPEN] == 3


def test_what_is_submitted_twice_at_once_is_one_study(told: House) -> None:
    study = told.study(png())
    _at_once(lambda: str(accept.accept_study(study, told)))
    assert told.ledger.open_count() == 1


def test_a_worker_that_lost_its_lease_in_the_middle_changes_nothing_more(told: House) -> None:
    """Both do the work; the one whose lease ran out advances nothing, and its bytes are the same."""
    told.policy = replace(told.policy, lease_s=10)
    study = told.accepted(png())
    for run in _STAGES[:-1]:
        assert run(study.study_id, told) == "done"
    stands, goes_on = threading.Event(), threading.Event()
    write = told.report_writer.write

    def slow(*args: object) -> bytes:
        if not stands.is_set():
            stands.set()
            assert goes_on.wait(60)
        return write(*args)  # type: ignore[arg-type]

    told.report_writer.write = slow  # type: ignore[method-assign, assignment]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(report.run, study.study_id, told)
        assert stands.wait(60)
        told.now_s += 11
        assert reconcile.run(told) >= 1
        assert report.run(study.study_id, told) == "done"
        before = told.store.get(keys.report_pdf("local", study.study_id))
        goes_on.set()
        assert first.result(60) == "lost"
    assert told.store.get(keys.report_pdf("local", study.study_id)) == before
    assert len(told.ledger.due_deliveries(now_s=told.now_s, limit=9)) == 1


def test_what_was_in_the_queue_when_all_of_it_was_lost_is_queued_again(house: House) -> None:
    """All of the queue is lost: the rounds are bounded, in order, and end."""
    house.policy = replace(house.policy, portion=100)
    study_ids = [house.accepted(png()).study_id for _ in range(30)]
    house.now_s += 6
    assert reconcile.run(house) == 30
    assert sorted(study_id for study_id, _ in house.queue.sent) == sorted(study_ids)
    house.queue.away = True
    house.now_s += 6
    assert reconcile.run(house) == 0
    house.queue.away = False
    assert reconcile.run(house) == 30
    assert {stage for _, stage in house.queue.sent} == {Stage.CLASSIFY.value}
