"""What every ledger owes: SQLite always, PostgreSQL where it is installed or FRACTUREAI_TEST_POSTGRESQL_URL is set."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

from fractureai.domain.contents import SKIPPED
from fractureai.domain.ports import Ledger
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Claim, Due, Priority, StudyFilter
from fractureai.domain.study import Assessment, Batch, SourceImage, Stage, Study, Upload, WorkState
from fractureai.errors import TransientFailure
from fractureai.storage.ledger.sql import SqlLedger


def new_id() -> str:
    return uuid.uuid4().hex


def new_study(
    *, site: str = "main", batch_id: str | None = None, accepted_at_s: float = 1000.25, views: int = 2
) -> Study:
    images = tuple(
        SourceImage(number, f"größe {number}.dcm", 100 + number, "ab" * 32) for number in range(1, views + 1)
    )
    return Study(site, new_id(), batch_id or new_id(), "walk-in “3”", accepted_at_s, images)


def new_batch(*, site: str = "main", uploads: int = 2) -> Batch:
    files = tuple(Upload(number, f"{number}.zip", 1 << 33, "cd" * 32) for number in range(1, uploads + 1))
    return Batch(site, new_id(), "night", 1000.25, files)


def accepted(ledger: Ledger, study: Study | None = None, *, due_s: float = 1060.0) -> Study:
    study = study or new_study()
    ledger.accept_study(study, publish_due_at_s=due_s)
    return study


def claim(ledger: Ledger, study: Study, stage: Stage = Stage.CLASSIFY, *, now_s: float = 1100.0) -> Claim:
    claim = ledger.claim(study.study_id, stage, owner=f"worker {now_s}", now_s=now_s, lease_s=60.0)
    assert claim is not None
    return claim


def finish(
    ledger: Ledger,
    claim: Claim,
    state: WorkState = WorkState.DONE,
    *,
    now_s: float = 1200.0,
    reasons: list[Reason] | None = None,
) -> bool:
    return ledger.finish(
        claim,
        state,
        now_s=now_s,
        assessment=Assessment.SUSPECTED,
        region="hand",
        max_fracture_probability=0.625,
        reasons=reasons or [],
    )


def due_ids(ledger: Ledger, now_s: float, *, limit: int = 100) -> list[str]:
    return [due.study_id for due in ledger.due_studies(now_s=now_s, limit=limit)]


def lost_ids(ledger: Ledger, now_s: float, *, due_before_s: float) -> list[str]:
    bounds = {(stage, priority): due_before_s for stage in Stage for priority in Priority}
    return [due.study_id for due in ledger.lost_studies(now_s=now_s, due_before_s=bounds, limit=9)]


def due_batches(ledger: Ledger, now_s: float, due_before_s: float) -> list[str]:
    due = ledger.due_batches(now_s=now_s, due_before_s=due_before_s, limit=9)
    return [batch.batch_id for batch in due]


# Accepting.


def test_what_was_accepted_is_known(ledger: Ledger) -> None:
    study = accepted(ledger)
    row = ledger.study(study.study_id, site="main")
    assert row is not None
    assert (row.state, row.stage, row.attempts, row.image_count) == (WorkState.OPEN, Stage.CLASSIFY, 0, 2)
    assert (row.label, row.accepted_at_s, row.finished_at_s) == ("walk-in “3”", 1000.25, None)
    assert (row.assessment, row.region, row.max_fracture_probability, row.reasons) == (None, None, None, ())
    assert ledger.sources(study.study_id, site="main") == study
    batch = ledger.batch(study.batch_id, site="main")
    assert batch is not None
    assert (batch.state, batch.counts, batch.upload_count) == (WorkState.DONE, {WorkState.OPEN: 1}, 2)
    assert not batch.finished
    assert ledger.open_count() == 1
    assert [event.what for event in ledger.history(study.study_id, site="main")] == ["accepted"]


def test_accepting_twice_changes_nothing(ledger: Ledger) -> None:
    study = accepted(ledger)
    held = claim(ledger, study)
    assert ledger.advance(held, now_s=1110.0, due_at_s=9000.0)
    accepted(ledger, study, due_s=5.0)
    row = ledger.study(study.study_id, site="main")
    assert row is not None
    assert row.stage is Stage.DETECT
    assert ledger.sources(study.study_id, site="main") == study
    assert ledger.open_count() == 1


def test_other_sites_see_nothing(ledger: Ledger) -> None:
    study, batch = accepted(ledger), new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    assert ledger.study(study.study_id, site="other") is None
    assert ledger.sources(study.study_id, site="other") is None
    assert ledger.history(study.study_id, site="other") == []
    assert ledger.batch(batch.batch_id, site="other") is None
    assert ledger.studies(site="other").rows == ()
    assert ledger.studies(site="other", which=StudyFilter(batch_id=study.batch_id)).rows == ()
    assert not ledger.reopen(study.study_id, site="other", now_s=1.0)


def test_what_nobody_sent_is_unknown(ledger: Ledger) -> None:
    assert ledger.study(new_id(), site="main") is None
    assert ledger.batch(new_id(), site="main") is None
    assert ledger.history(new_id(), site="main") == []
    assert ledger.claim(new_id(), Stage.CLASSIFY, owner="a", now_s=1.0, lease_s=1.0) is None
    assert ledger.claim_batch(new_id(), owner="a", now_s=1.0, lease_s=1.0) is None
    ledger.published([new_id()], now_s=1.0, due_again_at_s=1.0)
    ledger.published([], now_s=1.0, due_again_at_s=1.0)
    ledger.published_batch(new_id(), now_s=1.0, due_again_at_s=1.0)


# Leases.


def test_the_whole_chain(ledger: Ledger) -> None:
    study = accepted(ledger)
    now_s = 1100.0
    for stage in (Stage.CLASSIFY, Stage.DETECT, Stage.EXPLAIN):
        held = claim(ledger, study, stage, now_s=now_s)
        assert (held.study, held.stage, held.attempt) == (study, stage, 1)
        assert ledger.advance(held, now_s=now_s + 0.5, due_at_s=9000.0)
        now_s += 1
    held = claim(ledger, study, Stage.REPORT, now_s=now_s)
    assert finish(ledger, held, now_s=now_s + 0.5, reasons=[Reason("near_threshold", "0.6")])
    row = ledger.study(study.study_id, site="main")
    assert row is not None
    assert (row.state, row.stage, row.finished_at_s, row.updated_at_s) == (WorkState.DONE, None, 1103.5, 1103.5)
    assert (row.assessment, row.region, row.max_fracture_probability) == (Assessment.SUSPECTED, "hand", 0.625)
    assert row.reasons == (Reason("near_threshold", "0.6"),)
    history = ledger.history(study.study_id, site="main")
    assert [event.what for event in history] == ["accepted", "classify", "detect", "explain", "done"]
    assert history[1].detail == "0.500 s"
    assert ledger.open_count() == 0
    assert ledger.batch(study.batch_id, site="main").finished


def test_a_leased_stage_is_nobody_elses(ledger: Ledger) -> None:
    study = accepted(ledger)
    held = claim(ledger, study, now_s=1100.0)
    for owner in (held.owner, "somebody else"):
        assert ledger.claim(study.study_id, Stage.CLASSIFY, owner=owner, now_s=1159.9, lease_s=60.0) is None


def test_a_claim_holds_what_was_accepted_to_the_type(ledger: Ledger) -> None:
    study = accepted(ledger, new_study(accepted_at_s=1000.0))
    assert repr(claim(ledger, study).study) == repr(study)


def test_only_the_open_stage_can_be_claimed(ledger: Ledger) -> None:
    study = accepted(ledger)
    assert ledger.claim(study.study_id, Stage.DETECT, owner="a", now_s=1.0, lease_s=1.0) is None
    assert ledger.advance(claim(ledger, study), now_s=1110.0, due_at_s=9000.0)
    assert ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=1e6, lease_s=1.0) is None


def test_an_expired_lease_is_taken_over_and_the_attempt_counted(ledger: Ledger) -> None:
    study = accepted(ledger)
    first = claim(ledger, study, now_s=1100.0)
    second = claim(ledger, study, now_s=1160.0)
    assert (first.attempt, second.attempt) == (1, 2)
    assert ledger.study(study.study_id, site="main").attempts == 2
    assert not ledger.advance(first, now_s=1161.0, due_at_s=9000.0)
    assert not finish(ledger, first)
    assert not ledger.retry(first, Reason("internal_error"), now_s=1161.0, due_at_s=1161.0)
    assert ledger.advance(second, now_s=1162.0, due_at_s=9000.0)
    assert not ledger.advance(second, now_s=1162.0, due_at_s=9000.0)


def test_an_expired_lease_nobody_took_still_counts(ledger: Ledger) -> None:
    study = accepted(ledger)
    late = claim(ledger, study, now_s=1100.0)
    assert ledger.advance(late, now_s=9999.0, due_at_s=9000.0)


def test_the_same_owner_again_is_another_lease(ledger: Ledger) -> None:
    study = accepted(ledger)
    first = ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=1.0, lease_s=1.0)
    second = ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=2.0, lease_s=1.0)
    assert not ledger.advance(first, now_s=2.5, due_at_s=9000.0)
    assert ledger.advance(second, now_s=2.5, due_at_s=9000.0)


def test_attempts_start_again_with_each_stage(ledger: Ledger) -> None:
    study = accepted(ledger)
    claim(ledger, study, now_s=1100.0)
    assert ledger.advance(claim(ledger, study, now_s=1200.0), now_s=1201.0, due_at_s=9000.0)
    assert ledger.study(study.study_id, site="main").attempts == 0
    assert claim(ledger, study, Stage.DETECT, now_s=1202.0).attempt == 1


def test_the_last_stage_has_no_next(ledger: Ledger) -> None:
    study = accepted(ledger)
    for stage in (Stage.CLASSIFY, Stage.DETECT, Stage.EXPLAIN):
        assert ledger.advance(claim(ledger, study, stage), now_s=1100.0, due_at_s=9000.0)
    held = claim(ledger, study, Stage.REPORT)
    with pytest.raises(ValueError, match="last stage"):
        ledger.advance(held, now_s=1100.0, due_at_s=9000.0)
    with pytest.raises(ValueError, match="ending"):
        finish(ledger, held, WorkState.OPEN)
    assert finish(ledger, held)


@pytest.mark.parametrize("state", [WorkState.DONE, WorkState.REJECTED, WorkState.FAILED])
def test_final_is_final(ledger: Ledger, state: WorkState) -> None:
    study = accepted(ledger)
    held = claim(ledger, study)
    assert finish(ledger, held, state)
    assert not finish(ledger, held, WorkState.FAILED)
    assert not ledger.advance(held, now_s=1300.0, due_at_s=9000.0)
    assert not ledger.retry(held, Reason("internal_error"), now_s=1300.0, due_at_s=1300.0)
    assert ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=1e6, lease_s=1.0) is None
    assert due_ids(ledger, 1e9) == []
    assert ledger.study(study.study_id, site="main").state is state
    assert ledger.batch(study.batch_id, site="main").counts == {state: 1}


def test_retry_waits(ledger: Ledger) -> None:
    study = accepted(ledger)
    assert ledger.retry(claim(ledger, study), Reason("store_unavailable"), now_s=1110.0, due_at_s=1120.0)
    assert ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=1119.0, lease_s=60.0) is None
    assert due_ids(ledger, 1119.0) == []
    assert lost_ids(ledger, 1119.0, due_before_s=9999.0) == []
    assert due_ids(ledger, 1120.0) == [study.study_id]
    assert claim(ledger, study, now_s=1120.0).attempt == 2
    history = ledger.history(study.study_id, site="main")
    assert [event.what for event in history] == ["accepted", "retried"]
    assert history[1].detail == "10.000 s, classify: store_unavailable"


def test_a_person_reopens_what_failed(ledger: Ledger) -> None:
    study = accepted(ledger)
    assert not ledger.reopen(study.study_id, site="main", now_s=1100.0)
    assert ledger.advance(claim(ledger, study), now_s=1110.0, due_at_s=9000.0)
    claim(ledger, study, Stage.DETECT, now_s=1120.0)
    assert finish(ledger, claim(ledger, study, Stage.DETECT, now_s=1200.0), WorkState.FAILED)
    assert ledger.study(study.study_id, site="main").stage is Stage.DETECT
    assert ledger.reopen(study.study_id, site="main", now_s=1300.0)
    assert not ledger.reopen(study.study_id, site="main", now_s=1300.0)
    row = ledger.study(study.study_id, site="main")
    assert (row.state, row.stage, row.attempts, row.finished_at_s) == (WorkState.OPEN, Stage.DETECT, 0, None)
    assert (row.assessment, row.region, row.max_fracture_probability, row.reasons) == (None, None, None, ())
    assert ledger.due_studies(now_s=1300.0, limit=9) == [Due(study.study_id, Stage.DETECT, Priority.WALK_IN)]
    assert claim(ledger, study, Stage.DETECT, now_s=1301.0).attempt == 1
    assert [event.what for event in ledger.history(study.study_id, site="main")][-2:] == ["failed", "reopened"]


# What is due.


def test_due_in_the_order_they_came_and_bounded(ledger: Ledger) -> None:
    studies = [accepted(ledger, new_study(accepted_at_s=1000.0 + number), due_s=1050.0) for number in (3, 1, 2)]
    assert due_ids(ledger, 1049.9) == []
    assert due_ids(ledger, 1050.0) == [studies[1].study_id, studies[2].study_id, studies[0].study_id]
    assert due_ids(ledger, 1050.0, limit=2) == [studies[1].study_id, studies[2].study_id]


def test_published_is_not_due_until_said(ledger: Ledger) -> None:
    studies = [accepted(ledger) for _ in range(3)]
    ledger.published([study.study_id for study in studies[:2]], now_s=1001.0, due_again_at_s=1500.0)
    assert due_ids(ledger, 1499.0) == [studies[2].study_id]
    assert len(due_ids(ledger, 1500.0)) == 3
    ledger.published([studies[0].study_id], now_s=1001.0, due_again_at_s=1200.0)
    assert studies[0].study_id not in due_ids(ledger, 1400.0)


def test_a_message_recorded_late_leaves_the_lease_that_was_taken_in_between(ledger: Ledger) -> None:
    """Who publishes writes it down after a fast worker has the study; if that one dies, its lease must still count."""
    study = accepted(ledger)
    claim(ledger, study, now_s=1100.0)
    ledger.published([study.study_id], now_s=1100.5, due_again_at_s=2000.0)
    assert due_ids(ledger, 1160.0) == [study.study_id]
    ledger.published([study.study_id], now_s=1160.0, due_again_at_s=2060.0)
    assert due_ids(ledger, 2059.0) == []


def test_a_message_recorded_late_does_not_prolong_a_wait(ledger: Ledger) -> None:
    study = accepted(ledger)
    assert ledger.retry(claim(ledger, study), Reason("store_unavailable"), now_s=1100.0, due_at_s=1110.0)
    ledger.published([study.study_id], now_s=1101.0, due_again_at_s=2000.0)
    assert due_ids(ledger, 1110.0) == [study.study_id]


def test_live_work_is_not_due_until_its_lease_ends(ledger: Ledger) -> None:
    study = accepted(ledger)
    claim(ledger, study, now_s=1100.0)
    assert due_ids(ledger, 1159.0) == []
    assert lost_ids(ledger, 1159.0, due_before_s=9999.0) == []
    assert due_ids(ledger, 1160.0) == [study.study_id]


def test_an_advanced_study_comes_back_if_its_chain_is_lost(ledger: Ledger) -> None:
    study = accepted(ledger)
    assert ledger.advance(claim(ledger, study, now_s=1100.0), now_s=1105.0, due_at_s=9000.0)
    assert lost_ids(ledger, 1106.0, due_before_s=8999.0) == []
    assert lost_ids(ledger, 1106.0, due_before_s=9000.0) == [study.study_id]
    assert due_ids(ledger, 1160.0) == []
    assert ledger.due_studies(now_s=9000.0, limit=9) == [Due(study.study_id, Stage.DETECT, Priority.WALK_IN)]


def test_published_takes_many(ledger: Ledger) -> None:
    batch = new_batch(uploads=1)
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=2.0, lease_s=60.0)
    studies = [new_study(batch_id=batch.batch_id, views=1) for _ in range(1201)]
    assert ledger.unpacked(held, studies, [], now_s=3.0)
    ledger.published([study.study_id for study in studies], now_s=4.0, due_again_at_s=50.0)
    assert due_ids(ledger, 49.0, limit=9999) == []
    assert len(due_ids(ledger, 50.0, limit=9999)) == 1201


# Batches.


def test_a_batch_is_unpacked_once(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1060.0)
    ledger.accept_batch(batch, publish_due_at_s=5.0)
    assert due_batches(ledger, 1059.0, 1059.0) == []
    assert due_batches(ledger, 1059.0, 1060.0) == [batch.batch_id]
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=1100.0, lease_s=60.0)
    assert (held.batch, held.attempt) == (batch, 1)
    assert ledger.claim_batch(batch.batch_id, owner="b", now_s=1159.0, lease_s=60.0) is None
    assert due_batches(ledger, 1159.0, 9999.0) == []
    studies = [new_study(batch_id=batch.batch_id, views=views) for views in (1, 3)]
    rejected = [("a.zip/link.dcm", Reason("archive_member_skipped")), ("b.zip", Reason("archive_encrypted", "x"))]
    skipped = [("a.zip/1.exe", "program"), ("a.zip/2.dll", "program"), ("a.zip/README", "text")]
    left_out = [*rejected, *((name, Reason(SKIPPED, kind)) for name, kind in skipped)]
    assert ledger.unpacked(held, studies, left_out, now_s=1110.0)
    assert not ledger.unpacked(held, studies, left_out, now_s=1110.0)
    assert ledger.claim_batch(batch.batch_id, owner="b", now_s=1e6, lease_s=60.0) is None
    assert due_batches(ledger, 1e9, 1e9) == []
    row = ledger.batch(batch.batch_id, site="main")
    assert (row.state, row.upload_count, row.counts) == (WorkState.DONE, 2, {WorkState.OPEN: 2})
    assert (row.rejected_uploads, row.skipped) == (tuple(rejected), {"program": 2, "text": 1})
    assert set(due_ids(ledger, 1110.0)) == {study.study_id for study in studies}
    assert ledger.sources(studies[1].study_id, site="main") == studies[1]


def test_an_unpacking_whose_lease_was_lost_leaves_nothing(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1060.0)
    first = ledger.claim_batch(batch.batch_id, owner="a", now_s=1100.0, lease_s=60.0)
    second = ledger.claim_batch(batch.batch_id, owner="b", now_s=1160.0, lease_s=60.0)
    assert second.attempt == 2
    study = new_study(batch_id=batch.batch_id)
    assert not ledger.unpacked(first, [study], [("x", Reason("damaged"))], now_s=1161.0)
    assert not ledger.fail_batch(first, Reason("internal_error"), now_s=1161.0)
    assert not ledger.retry_batch(first, now_s=1100.0, due_at_s=1161.0)
    assert ledger.study(study.study_id, site="main") is None
    assert ledger.batch(batch.batch_id, site="main").rejected_uploads == ()
    assert ledger.unpacked(second, [study], [], now_s=1162.0)


def test_a_batch_of_nothing_usable_is_finished(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1060.0)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=1100.0, lease_s=60.0)
    assert ledger.unpacked(held, [], [("a", Reason("no_images"))], now_s=1101.0)
    row = ledger.batch(batch.batch_id, site="main")
    assert row.finished
    assert row.counts == {}


def test_a_batch_retried_and_failed(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1060.0)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=1100.0, lease_s=60.0)
    assert ledger.retry_batch(held, now_s=1100.0, due_at_s=1130.0)
    assert due_batches(ledger, 1129.0, 9999.0) == []
    assert due_batches(ledger, 1130.0, 1130.0) == [batch.batch_id]
    ledger.published_batch(batch.batch_id, now_s=1130.0, due_again_at_s=1140.0)
    assert due_batches(ledger, 1139.0, 1139.0) == []
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=1140.0, lease_s=60.0)
    assert held.attempt == 2
    assert ledger.fail_batch(held, Reason("attempts_exhausted"), now_s=1150.0)
    row = ledger.batch(batch.batch_id, site="main")
    assert (row.state, row.reasons, row.finished) == (WorkState.FAILED, (Reason("attempts_exhausted"),), True)


def test_a_batch_recorded_late_as_published_keeps_its_lease(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1060.0)
    ledger.claim_batch(batch.batch_id, owner="a", now_s=1100.0, lease_s=60.0)
    ledger.published_batch(batch.batch_id, now_s=1100.5, due_again_at_s=2000.0)
    assert due_batches(ledger, 1160.0, 1160.0) == [batch.batch_id]


# The worklist.


def test_worklist_pages_hold_still_while_studies_come_in(ledger: Ledger) -> None:
    # Equal times, too: the order has to be total.
    before = [accepted(ledger, new_study(accepted_at_s=1000.0 + number // 3)) for number in range(20)]
    page = ledger.studies(site="main", limit=6)
    seen = [row.study_id for row in page.rows]
    while page.next_cursor:
        accepted(ledger, new_study(accepted_at_s=5000.0 + len(seen)))
        page = ledger.studies(site="main", limit=6, cursor=page.next_cursor)
        seen += [row.study_id for row in page.rows]
    assert len(seen) == 20
    assert set(seen) == {study.study_id for study in before}
    times = {study.study_id: study.accepted_at_s for study in before}
    assert [times[study_id] for study_id in seen] == sorted(times.values(), reverse=True)


def test_the_last_page_has_no_cursor(ledger: Ledger) -> None:
    for _ in range(4):
        accepted(ledger)
    first = ledger.studies(site="main", limit=2)
    assert first.next_cursor is not None
    last = ledger.studies(site="main", limit=2, cursor=first.next_cursor)
    assert len(last.rows) == 2
    assert last.next_cursor is None


def test_worklist_filters(ledger: Ledger) -> None:
    batch_id = new_id()
    inside = [accepted(ledger, new_study(batch_id=batch_id)) for _ in range(3)]
    outside = accepted(ledger)
    for study in (inside[0], outside):
        assert finish(ledger, claim(ledger, study))

    def listed(**wanted: object) -> set[str]:
        return {row.study_id for row in ledger.studies(site="main", which=StudyFilter(**wanted)).rows}

    assert listed(batch_id=batch_id) == {study.study_id for study in inside}
    assert listed(state=WorkState.DONE) == {inside[0].study_id, outside.study_id}
    assert listed(state=WorkState.OPEN, batch_id=batch_id) == {inside[1].study_id, inside[2].study_id}
    assert listed(state=WorkState.FAILED) == set()
    assert ledger.batch(batch_id, site="main").counts == {WorkState.OPEN: 2, WorkState.DONE: 1}


@pytest.mark.parametrize("cursor", ["", "x", "1_2", "nan_" + "0" * 32, "1.0", "1_" + "g" * 32, "'; DROP TABLE studies"])
def test_a_cursor_that_is_none(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 any will do
        ledger.studies(site="main", cursor=cursor)


# Races, deaths and outages.


def test_of_many_threads_one_wins(ledger: Ledger) -> None:
    studies = [accepted(ledger) for _ in range(10)]

    def take(number: int) -> list[str]:
        owner = f"thread {number}"
        claims = [
            ledger.claim(study.study_id, Stage.CLASSIFY, owner=owner, now_s=1100.0, lease_s=60.0) for study in studies
        ]
        return [held.study.study_id for held in claims if held]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = [study_id for taken in pool.map(take, range(8)) for study_id in taken]
    assert sorted(won) == sorted(study.study_id for study in studies)


_CLAIMS_ALL = """
import sys, json
from fractureai.domain.study import Stage
from fractureai.storage.ledger.sql import SqlLedger
ledger = SqlLedger.open(sys.argv[1])
print("ready", flush=True)
ids = json.loads(sys.stdin.readline())
for study_id in ids:
    held = ledger.claim(study_id, Stage.CLASSIFY, owner=sys.argv[2], now_s=1100.0, lease_s=60.0)
    if held and ledger.advance(held, now_s=1101.0, due_at_s=9000.0):
        print(study_id, flush=True)
"""


def test_of_many_processes_that_start_at_once_one_wins(ledger_url: str) -> None:
    """The tables are made in the same race."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIMS_ALL, ledger_url, f"process {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    ledger = SqlLedger.open(ledger_url)
    ids = [accepted(ledger).study_id for _ in range(40)]
    for process in processes:
        process.stdin.write(json.dumps(ids) + "\n")
        process.stdin.flush()
    won = [line for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(won) == sorted(ids)
    ledger.close()


_ACCEPTS_FOREVER = """
import sys, uuid
from fractureai.domain.study import SourceImage, Study
from fractureai.storage.ledger.sql import SqlLedger
ledger = SqlLedger.open(sys.argv[1])
while True:
    study = Study("main", uuid.uuid4().hex, uuid.uuid4().hex, "x", 1000.0, (SourceImage(1, "a", 1, "0" * 64),))
    ledger.accept_study(study, publish_due_at_s=1060.0)
    print(study.study_id, flush=True)
"""


def test_a_killed_process_loses_nothing_it_was_told_is_safe(ledger_url: str, ledger: Ledger) -> None:
    promised = []
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _ACCEPTS_FOREVER, ledger_url], stdout=subprocess.PIPE, text=True
        ) as child:
            promised += [child.stdout.readline().strip() for _ in range(5 + turn)]
            os.kill(child.pid, signal.SIGKILL)
    for study_id in promised:
        study = ledger.sources(study_id, site="main")
        assert study is not None
        assert len(study.images) == 1


def test_a_forked_child_has_connections_of_its_own(ledger: Ledger) -> None:
    study, other = accepted(ledger), accepted(ledger)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            claim(ledger, study)
            code = 0
        finally:
            os._exit(code)
    claim(ledger, other)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ledger.study(study.study_id, site="main").attempts == 1
    assert ledger.study(other.study_id, site="main").attempts == 1


def test_a_failed_transaction_leaves_nothing(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=2.0, lease_s=60.0)
    # Belongs to a batch nobody accepted: refused by the database, in the middle of the transaction.
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        ledger.unpacked(held, [new_study(batch_id=batch.batch_id), new_study()], [], now_s=3.0)
    row = ledger.batch(batch.batch_id, site="main")
    assert (row.state, row.counts) == (WorkState.OPEN, {})
    assert ledger.unpacked(held, [new_study(batch_id=batch.batch_id)], [], now_s=4.0)


def test_a_ledger_that_is_away() -> None:
    with pytest.raises(TransientFailure) as failure:
        SqlLedger.open("sqlite:////no/such/folder/ledger.sqlite")
    assert failure.value.code == "ledger_unavailable"


def test_a_closed_ledger_says_so(ledger_url: str) -> None:
    ledger = SqlLedger.open(ledger_url)
    ledger.close()
    ledger.close()
    with pytest.raises(ValueError, match="closed"):
        ledger.open_count()
