"""What every ledger owes to those who come after the work: places of finished studies, verdicts, deliveries, keys,
uploads file by file."""

from __future__ import annotations

import concurrent.futures
import threading
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from fractureai.domain.ports import Ledger
from fractureai.domain.reasons import Reason
from fractureai.domain.records import (
    REQUEST_KEPT_S,
    Agreement,
    DeliveredObject,
    DeliveryState,
    KeyedRequest,
    ObjectState,
    StudyFilter,
    Verdict,
    WorklistOrder,
)
from fractureai.domain.study import Assessment, Batch, SourceImage, Stage, Study, Upload, WorkState
from fractureai.storage.ledger import migrate
from fractureai.storage.ledger.restore import Remains
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.ledger.work import Ending

SHA = "ab" * 32


def new_study(batch_id: str | None = None, site: str = "main") -> Study:
    image = SourceImage(1, "a.dcm", 1, SHA)
    return Study(site, uuid.uuid4().hex, batch_id or uuid.uuid4().hex, "", 1000.0, (image,))


def end(ledger: Ledger, study: Study, state: WorkState = WorkState.DONE, *, now_s: float = 2000.0) -> bool:
    held = ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=now_s, lease_s=9.0)
    assert held is not None
    return ledger.finish(
        held,
        state,
        now_s=now_s,
        assessment=Assessment.NO_FRACTURE,
        region="hand",
        max_fracture_probability=0.1,
        reasons=[],
    )


def finished(ledger: Ledger, state: WorkState = WorkState.DONE, **study: str) -> str:
    study_ = new_study(**study)
    ledger.accept_study(study_, publish_due_at_s=1.0)
    assert end(ledger, study_, state)
    return study_.study_id


# Everything finished since.


def test_everything_finished_comes_once_in_its_order(ledger: Ledger) -> None:
    assert ledger.finished_since(site="main", cursor="", limit=5).next_cursor == ""
    first = [finished(ledger) for _ in range(5)]
    ledger.accept_study(new_study(), publish_due_at_s=1.0)
    finished(ledger, site="other")
    page = ledger.finished_since(site="main", cursor="", limit=3)
    assert ([row.study_id for row in page.rows], page.more) == (first[:3], True)
    page = ledger.finished_since(site="main", cursor=page.next_cursor, limit=3)
    assert ([row.study_id for row in page.rows], page.more) == (first[3:], False)
    again = ledger.finished_since(site="main", cursor=page.next_cursor, limit=3)
    assert (again.rows, again.next_cursor) == ((), page.next_cursor)
    later = finished(ledger)
    assert [row.study_id for row in ledger.finished_since(site="main", cursor=page.next_cursor, limit=3).rows] == [
        later
    ]


def test_what_is_tried_again_comes_again(ledger: Ledger) -> None:
    study = new_study()
    ledger.accept_study(study, publish_due_at_s=1.0)
    assert end(ledger, study, WorkState.FAILED)
    cursor = ledger.finished_since(site="main", cursor="", limit=9).next_cursor
    assert ledger.reopen(study.study_id, site="main", now_s=2100.0)
    assert ledger.finished_since(site="main", cursor="", limit=9).rows == ()
    assert end(ledger, study, now_s=2200.0)
    (row,) = ledger.finished_since(site="main", cursor=cursor, limit=9).rows
    assert (row.study_id, row.state) == (study.study_id, WorkState.DONE)


def test_a_cursor_of_a_lost_ledger_begins_anew(ledger: SqlLedger) -> None:
    ending = Ending(WorkState.DONE, Assessment.FRACTURE, "hand", 0.9, ())
    study = new_study()
    assert ledger.restore_study(Remains(study, Stage.REPORT, ending), now_s=5.0)
    own = ledger.finished_since(site="main", cursor="", limit=9).next_cursor
    for cursor in ("0000-1", f"{own[:-1]}99"):
        assert [row.study_id for row in ledger.finished_since(site="main", cursor=cursor, limit=9).rows] == [
            study.study_id
        ]


@pytest.mark.parametrize("cursor", ["x", "-1", "a-", "a-1e5", "a b-1", "abcd-" + "9" * 30, "abcd--1"])
def test_a_cursor_that_is_none(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        ledger.finished_since(site="main", cursor=cursor, limit=9)


def test_nobody_is_skipped_while_many_finish_at_once(ledger: SqlLedger) -> None:
    """A reader that keeps its cursor sees each once, however the writers' transactions overlap."""
    studies = [new_study() for _ in range(120)]
    for study in studies:
        ledger.accept_study(study, publish_due_at_s=1.0)
    over = threading.Event()

    def read() -> list[str]:
        seen: list[str] = []
        cursor, last_look = "", False
        while True:
            page = ledger.finished_since(site="main", cursor=cursor, limit=7)
            seen += [row.study_id for row in page.rows]
            cursor = page.next_cursor
            if not page.rows:
                if last_look:
                    return seen
                last_look = over.is_set()

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        reading = pool.submit(read)
        assert all(pool.map(lambda study: end(ledger, study), studies))
        over.set()
        seen = reading.result(60)
    assert sorted(seen) == sorted(study.study_id for study in studies)
    assert len(seen) == len(set(seen))


def test_a_place_is_not_given_before_the_one_before_it_is_seen(ledger: SqlLedger) -> None:
    """The counter's row stays locked until the end of the transaction that finishes."""
    finished(ledger)
    slow, quick = new_study(), new_study()
    for study in (slow, quick):
        ledger.accept_study(study, publish_due_at_s=1.0)
    began = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with ledger._connections.write(durable=False) as connection:
            connection.execute(text("UPDATE finishes SET last_number = last_number + 1 WHERE site = 'main'"))
            waiting = pool.submit(lambda: (began.set(), end(ledger, quick)))
            began.wait(5)
            with pytest.raises(concurrent.futures.TimeoutError):
                waiting.result(0.3)
        assert waiting.result(30)[1]
    assert end(ledger, slow)
    rows = ledger.finished_since(site="main", cursor="", limit=9).rows
    assert [row.study_id for row in rows][1:] == [quick.study_id, slow.study_id]


# Verdicts.


def test_verdicts_are_kept_in_order(ledger: Ledger) -> None:
    study_id = finished(ledger)
    said = [
        Verdict(study_id, 5.0, "Dr. Ä", Agreement.UNSURE),
        Verdict(study_id, 6.0, "Dr. Ä", Agreement.DISAGREE, Assessment.FRACTURE, "elbow", "line\nbreak"),
    ]
    assert all(ledger.add_verdict(verdict, site="main") for verdict in said)
    assert ledger.verdicts(study_id, site="main") == said
    assert not ledger.add_verdict(said[0], site="other")
    assert ledger.verdicts(study_id, site="other") == []
    assert not ledger.add_verdict(Verdict(uuid.uuid4().hex, 5.0, "", Agreement.AGREE), site="main")
    assert [event.what for event in ledger.history(study_id, site="main")][-2:] == ["verdict", "verdict"]


# Deliveries.


@pytest.fixture
def telling(ledger_url: str, ledger: SqlLedger) -> Iterator[SqlLedger]:
    """A ledger whose finished studies are to be told of."""
    telling = SqlLedger.open(ledger_url, outbox=True)
    yield telling
    telling.close()


def test_no_delivery_where_nobody_listens(ledger: Ledger) -> None:
    finished(ledger)
    assert ledger.due_deliveries(now_s=1e9, limit=9) == []


def test_one_delivery_for_each_finish(telling: Ledger) -> None:
    study_id = finished(telling, WorkState.FAILED)
    assert telling.reopen(study_id, site="main", now_s=2100.0)
    held = telling.claim(study_id, Stage.CLASSIFY, owner="a", now_s=2100.0, lease_s=9.0)
    assert held is not None
    assert telling.finish(
        held, WorkState.DONE, now_s=2200.0, assessment=None, region=None, max_fracture_probability=None, reasons=[]
    )
    assert not telling.finish(
        held, WorkState.DONE, now_s=2200.0, assessment=None, region=None, max_fracture_probability=None, reasons=[]
    )
    due = telling.due_deliveries(now_s=2200.0, limit=9)
    assert [delivery_id.split("-")[0] for delivery_id in due] == [study_id] * 2


def test_a_delivery_from_due_to_given_up_and_again(telling: Ledger) -> None:
    study_id = finished(telling)
    (delivery_id,) = telling.due_deliveries(now_s=2000.0, limit=9)
    telling.published_deliveries([delivery_id], now_s=2000.0, due_again_at_s=2060.0)
    assert telling.due_deliveries(now_s=2059.0, limit=9) == []
    held = telling.claim_delivery(delivery_id, now_s=2001.0, lease_s=30.0)
    assert held is not None
    assert (held.study_id, held.site, held.attempts) == (study_id, "main", 1)
    assert telling.claim_delivery(delivery_id, now_s=2002.0, lease_s=30.0) is None
    telling.postpone_delivery(held, "HTTP 500", due_at_s=2100.0)
    (row,) = telling.undelivered(site="main", limit=9)
    assert (row.state, row.last_error, row.due_at_s) == (DeliveryState.OPEN, "HTTP 500", 2100.0)
    assert telling.due_deliveries(now_s=2099.0, limit=9) == []
    held = telling.claim_delivery(delivery_id, now_s=2100.0, lease_s=30.0)
    assert held is not None
    assert held.attempts == 2
    assert not telling.retry_delivery(delivery_id, site="main", now_s=2101.0)
    telling.give_up_delivery(held, "HTTP 500", now_s=2101.0)
    assert telling.due_deliveries(now_s=1e9, limit=9) == []
    assert [row.state for row in telling.undelivered(site="main", limit=9)] == [DeliveryState.GIVEN_UP]
    assert not telling.retry_delivery(delivery_id, site="other", now_s=2101.0)
    assert telling.retry_delivery(delivery_id, site="main", now_s=2200.0)
    held = telling.claim_delivery(delivery_id, now_s=2200.0, lease_s=30.0)
    assert held is not None
    telling.delivered(held, now_s=2201.0)
    assert telling.undelivered(site="main", limit=9) == []
    assert telling.claim_delivery(delivery_id, now_s=1e9, lease_s=30.0) is None
    assert [event.what for event in telling.history(study_id, site="main")][-2:] == ["not told", "told"]


def test_a_delivery_that_nobody_is_to_have(telling: Ledger) -> None:
    study_id = finished(telling)
    (delivery_id,) = telling.due_deliveries(now_s=2000.0, limit=9)
    held = telling.claim_delivery(delivery_id, now_s=2001.0, lease_s=30.0)
    assert held is not None
    telling.supersede_delivery(held, "another study", now_s=2002.0)
    assert telling.undelivered(site="main", limit=9) == []
    assert telling.due_deliveries(now_s=1e9, limit=9) == []
    assert not telling.retry_delivery(delivery_id, site="main", now_s=2003.0)
    last = telling.history(study_id, site="main")[-1]
    assert (last.what, last.detail) == ("superseded", "another study")


def test_what_was_rejected_is_tried_again_when_a_person_says_so(telling: Ledger) -> None:
    finished(telling)
    (delivery_id,) = telling.due_deliveries(now_s=2000.0, limit=9)
    stored, rejected = DeliveredObject("pdf", ObjectState.STORED), DeliveredObject("sr", ObjectState.REJECTED, "0122")
    telling.note_objects(delivery_id, [stored, rejected])
    assert telling.delivered_objects(delivery_id) == [stored, rejected]
    held = telling.claim_delivery(delivery_id, now_s=2001.0, lease_s=30.0)
    assert held is not None
    telling.give_up_delivery(held, "sr", now_s=2002.0)
    assert telling.retry_delivery(delivery_id, site="main", now_s=2003.0)
    assert telling.delivered_objects(delivery_id) == [stored]


def test_publishing_says_nothing_about_what_was_taken_meanwhile(telling: Ledger) -> None:
    finished(telling)
    (delivery_id,) = telling.due_deliveries(now_s=2000.0, limit=9)
    held = telling.claim_delivery(delivery_id, now_s=2001.0, lease_s=30.0)
    telling.published_deliveries([delivery_id], now_s=2000.0, due_again_at_s=2120.0)
    assert telling.due_deliveries(now_s=2031.0, limit=9) == [delivery_id]  # its holder may have died
    assert held is not None
    telling.postpone_delivery(held, "HTTP 500", due_at_s=9000.0)
    telling.published_deliveries([delivery_id], now_s=2000.0, due_again_at_s=2120.0)
    assert telling.due_deliveries(now_s=8999.0, limit=9) == []


def test_a_delivery_that_takes_long_is_held_on_to(telling: Ledger) -> None:
    finished(telling)
    (delivery_id,) = telling.due_deliveries(now_s=2000.0, limit=9)
    held = telling.claim_delivery(delivery_id, now_s=2000.0, lease_s=30.0)
    assert held is not None
    assert telling.renew_delivery(held, until_s=2050.0)
    assert telling.due_deliveries(now_s=2049.0, limit=9) == []
    assert telling.claim_delivery(delivery_id, now_s=2049.0, lease_s=30.0) is None
    assert telling.claim_delivery(delivery_id, now_s=2050.0, lease_s=30.0) is not None
    assert not telling.renew_delivery(held, until_s=2100.0)


def test_what_a_clock_put_off_beyond_any_wait_is_pulled_forward(telling: Ledger) -> None:
    for _ in range(4):
        finished(telling)
    published, held, tried, patient = telling.due_deliveries(now_s=90_000.0, limit=9)
    telling.published_deliveries([published], now_s=90_000.0, due_again_at_s=90_120.0)
    telling.claim_delivery(held, now_s=90_000.0, lease_s=30.0)
    for each, until_s in ((tried, 99_000.0), (patient, 7000.0)):
        claimed = telling.claim_delivery(each, now_s=2000.0, lease_s=30.0)
        assert claimed is not None
        telling.postpone_delivery(claimed, "HTTP 500", due_at_s=until_s)
    assert telling.pull_deliveries_forward(now_s=3000.0, beyond_s=3200.0, put_off_beyond_s=9000.0) == 3
    assert set(telling.due_deliveries(now_s=3000.0, limit=9)) == {published, held, tried}
    assert telling.claim_delivery(held, now_s=3000.0, lease_s=30.0) is not None
    assert telling.due_deliveries(now_s=7000.0, limit=9)[-1] == patient


def test_a_lease_that_was_lost_closes_nothing(telling: Ledger) -> None:
    finished(telling)
    (delivery_id,) = telling.due_deliveries(now_s=2000.0, limit=9)
    late = telling.claim_delivery(delivery_id, now_s=2000.0, lease_s=30.0)
    other = telling.claim_delivery(delivery_id, now_s=2030.0, lease_s=30.0)
    assert late is not None
    assert other is not None
    telling.give_up_delivery(late, "late", now_s=2031.0)
    assert telling.undelivered(site="main", limit=9)[0].state is DeliveryState.OPEN
    telling.delivered(other, now_s=2032.0)
    assert telling.undelivered(site="main", limit=9) == []


# Requests that are done once.


def keyed(fingerprint: str = "f1", *, at_s: float = 1000.0, site: str = "main") -> KeyedRequest:
    return KeyedRequest(site, "key 1", fingerprint, '{"a": 1}', at_s)


def test_a_key_is_done_once(ledger: Ledger) -> None:
    first, second = new_study(), new_study()
    assert ledger.earlier_request("key 1", site="main", now_s=1000.0) is None
    assert ledger.accept_study(first, publish_due_at_s=1.0, request=keyed()) is None
    assert ledger.accept_study(second, publish_due_at_s=1.0, request=keyed("f2")) == keyed()
    assert ledger.study(second.study_id, site="main") is None
    batch = Batch("main", uuid.uuid4().hex, "", 1000.0, (Upload(1, "a", 1, SHA),))
    assert ledger.accept_batch(batch, publish_due_at_s=1.0, request=keyed("f3")) == keyed()
    assert ledger.batch(batch.batch_id, site="main") is None
    assert ledger.earlier_request("key 1", site="main", now_s=1500.0) == keyed()
    assert ledger.earlier_request("key 1", site="other", now_s=1500.0) is None


def test_a_key_is_forgotten_after_a_day(ledger: Ledger) -> None:
    assert ledger.accept_study(new_study(), publish_due_at_s=1.0, request=keyed()) is None
    late_s = 1001.0 + REQUEST_KEPT_S
    assert ledger.earlier_request("key 1", site="main", now_s=late_s) is None
    assert ledger.accept_study(new_study(), publish_due_at_s=1.0, request=keyed("f2", at_s=late_s)) is None
    assert ledger.forget_requests(before_s=late_s) == 0
    assert ledger.forget_requests(before_s=late_s + 1) == 1


def test_of_many_that_come_with_a_key_at_once_one_is_accepted(ledger: Ledger) -> None:
    studies = [new_study() for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda study: ledger.accept_study(study, publish_due_at_s=1.0, request=keyed(study.study_id)), studies
            )
        )
    accepted = [study for study, answer in zip(studies, answers, strict=True) if answer is None]
    assert len(accepted) == 1
    assert {answer.fingerprint for answer in answers if answer} == {accepted[0].study_id}
    assert ledger.open_count() == 1


# Uploads file by file.


def test_an_upload_tells_what_has_arrived(ledger: Ledger) -> None:
    batch_id = uuid.uuid4().hex
    assert ledger.open_upload(batch_id, site="main") is None
    ledger.begin_upload(batch_id, site="main", now_s=1.0)
    for upload in (Upload(2, "b", 5, SHA), Upload(1, "a", 5, SHA), Upload(2, "b2", 6, "cd" * 32)):
        assert ledger.arrived(batch_id, upload, site="main", now_s=2.0)
    known = ledger.open_upload(batch_id, site="main")
    assert known is not None
    assert known.arrived == (Upload(1, "a", 5, SHA), Upload(2, "b2", 6, "cd" * 32))
    assert ledger.open_upload(batch_id, site="other") is None
    assert not ledger.arrived(batch_id, Upload(1, "a", 5, SHA), site="other", now_s=2.0)
    batch = Batch("main", batch_id, "", 3.0, known.arrived)
    assert ledger.complete_upload(batch, publish_due_at_s=9.0)
    assert ledger.complete_upload(batch, publish_due_at_s=9.0)
    assert ledger.open_upload(batch_id, site="main") is None
    assert not ledger.arrived(batch_id, Upload(3, "c", 5, SHA), site="main", now_s=4.0)
    assert ledger.expire_uploads(touched_before_s=1e9, limit=9) == []
    row = ledger.batch(batch_id, site="main")
    assert row is not None
    assert row.upload_count == 2


def test_an_upload_nobody_goes_on_with_expires(ledger: Ledger) -> None:
    stale, live = uuid.uuid4().hex, uuid.uuid4().hex
    for batch_id, now_s in ((stale, 1.0), (live, 1.0)):
        ledger.begin_upload(batch_id, site="main", now_s=now_s)
    ledger.arrived(stale, Upload(1, "a", 5, SHA), site="main", now_s=2.0)
    ledger.arrived(live, Upload(1, "a", 5, SHA), site="main", now_s=99.0)
    for _ in range(2):  # a sweep that was interrupted sees it again
        assert ledger.expire_uploads(touched_before_s=50.0, limit=9) == [("main", stale)]
    assert not ledger.arrived(stale, Upload(2, "b", 5, SHA), site="main", now_s=60.0)
    batch = Batch("main", stale, "", 60.0, (Upload(1, "a", 5, SHA),))
    assert not ledger.complete_upload(batch, publish_due_at_s=99.0)
    assert ledger.batch(stale, site="main") is None
    ledger.forget_upload(live)
    ledger.forget_upload(stale)
    assert ledger.expire_uploads(touched_before_s=50.0, limit=9) == []
    assert ledger.open_upload(live, site="main") is not None


# Batches, after they were unpacked.


def unpacked(ledger: Ledger, *, failed: bool = False) -> Batch:
    batch = Batch("main", uuid.uuid4().hex, "", 1000.0, (Upload(1, "a", 5, SHA), Upload(2, "b", 5, SHA)))
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=2.0, lease_s=60.0)
    assert held is not None
    if failed:
        assert ledger.fail_batch(held, Reason("attempts_exhausted"), now_s=3.0)
    else:
        studies = [new_study(batch.batch_id) for _ in range(3)]
        assert ledger.unpacked(held, studies, [], now_s=3.0)
    return batch


def test_a_batch_is_to_be_cleaned_once_it_is_unpacked(ledger: Ledger) -> None:
    open_batch = Batch("main", uuid.uuid4().hex, "", 1.0, (Upload(1, "a", 5, SHA),))
    ledger.accept_batch(open_batch, publish_due_at_s=1.0)
    batch, _ = unpacked(ledger), unpacked(ledger, failed=True)
    assert ledger.batches_to_clean(unpacked_before_s=3.0, limit=9) == []
    assert ledger.batches_to_clean(unpacked_before_s=4.0, limit=9) == [batch]
    ledger.cleaned(batch.batch_id)
    assert ledger.batches_to_clean(unpacked_before_s=1e9, limit=9) == []


def test_all_that_failed_of_a_batch_is_opened_again(ledger: Ledger) -> None:
    batch = unpacked(ledger)
    rows = ledger.studies(site="main").rows
    for row, state in zip(rows, (WorkState.FAILED, WorkState.FAILED, WorkState.REJECTED), strict=True):
        study = ledger.sources(row.study_id, site="main")
        assert study is not None
        assert end(ledger, study, state)
    assert ledger.reopen_batch(batch.batch_id, site="other", now_s=9.0) == 0
    assert ledger.reopen_batch(batch.batch_id, site="main", now_s=9.0) == 2
    assert ledger.reopen_batch(batch.batch_id, site="main", now_s=9.0) == 0
    found = ledger.batch(batch.batch_id, site="main")
    assert found is not None
    assert found.counts == {WorkState.OPEN: 2, WorkState.REJECTED: 1}
    failed = unpacked(ledger, failed=True)
    assert ledger.reopen_batch(failed.batch_id, site="main", now_s=9.0) == 1
    assert [due.batch_id for due in ledger.due_batches(now_s=9.0, due_before_s=9.0, limit=9)] == [failed.batch_id]


# Coming from an older version.


def test_studies_of_before_are_ordered_found_and_counted_after_an_upgrade(ledger: SqlLedger) -> None:
    studies = [new_study() for _ in range(3)]
    for study in studies:
        ledger.accept_study(study, publish_due_at_s=1.0)
    ends = ((studies[1], Assessment.NO_FRACTURE, 0.3), (studies[0], Assessment.FRACTURE, 0.8))
    for now_s, (study, assessment, probability) in enumerate(ends):
        held = ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=now_s, lease_s=9.0)
        assert held is not None
        assert ledger.finish(
            held,
            WorkState.DONE,
            now_s=float(now_s),
            assessment=assessment,
            region="hand",
            max_fracture_probability=probability,
            reasons=[],
        )
    batch = unpacked(ledger)
    first = ledger.studies(site="main", order=WorklistOrder.MOST_SUSPICIOUS)
    migrate.downgrade(ledger._connections, "0001")
    migrate.upgrade(ledger._connections)
    assert ledger.studies(site="main", order=WorklistOrder.MOST_SUSPICIOUS) == first
    found = ledger.studies(site="main", which=StudyFilter(text=studies[2].study_id[:8]))
    assert [row.study_id for row in found.rows] == [studies[2].study_id]
    assert len(ledger.studies(site="main", which=StudyFilter(text="a.dcm")).rows) == 6
    page = ledger.finished_since(site="main", cursor="", limit=9)
    assert [row.study_id for row in page.rows] == [studies[1].study_id, studies[0].study_id]
    assert end(ledger, studies[2])
    later = ledger.finished_since(site="main", cursor=page.next_cursor, limit=9)
    assert [row.study_id for row in later.rows] == [studies[2].study_id]
    assert ledger.batches_to_clean(unpacked_before_s=1e9, limit=9) == [batch]
