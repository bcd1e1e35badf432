"""Who goes first, who leads, what an outage costs: on both databases."""

from __future__ import annotations

import concurrent.futures

from fractureai.domain.ports import Ledger
from fractureai.domain.reasons import Reason
from fractureai.domain.records import Priority
from fractureai.domain.study import Stage, Study
from tests.contract.test_ledger import accepted, claim, due_batches, due_ids, lost_ids, new_batch, new_study


def unpacked(ledger: Ledger, count: int, *, now_s: float, priority: Priority = Priority.BULK) -> list[Study]:
    """The studies of a batch that was just unpacked."""
    batch = new_batch(uploads=1)
    ledger.accept_batch(batch, publish_due_at_s=now_s)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=now_s, lease_s=60.0)
    assert held is not None
    studies = [new_study(batch_id=batch.batch_id, views=1, accepted_at_s=now_s) for _ in range(count)]
    assert ledger.unpacked(held, studies, [], now_s=now_s, priority=priority)
    return studies


def publish(ledger: Ledger, now_s: float, count: int) -> list[str]:
    """One round of whoever feeds the queue."""
    ids = due_ids(ledger, now_s, limit=count)
    ledger.published(ids, now_s=now_s, due_again_at_s=now_s + 900.0)
    return ids


def test_a_batch_of_ten_is_not_starved_by_one_of_ten_thousand(ledger: Ledger) -> None:
    many = {study.study_id for study in unpacked(ledger, 1000, now_s=2000.0)}
    assert set(publish(ledger, 2001.0, 200)) < many
    few = {study.study_id for study in unpacked(ledger, 10, now_s=2002.0)}
    following = publish(ledger, 2003.0, 22)
    assert few < set(following)
    # In turn: about every second one, never all of one and then all of the other.
    assert any(study_id in many for study_id in following[:4])


def test_whoever_comes_later_does_not_go_before_those_who_wait(ledger: Ledger) -> None:
    first = {study.study_id for study in unpacked(ledger, 50, now_s=2000.0)}
    publish(ledger, 2001.0, 40)
    unpacked(ledger, 50, now_s=2002.0)
    assert first <= set(publish(ledger, 2003.0, 21)) | set(first) - set(due_ids(ledger, 2003.0))


def test_walk_ins_go_before_all_bulk_in_the_order_they_came(ledger: Ledger) -> None:
    unpacked(ledger, 20, now_s=2000.0)
    small = unpacked(ledger, 2, now_s=2001.0, priority=Priority.WALK_IN)
    single = accepted(ledger, new_study(accepted_at_s=2002.0), due_s=2002.0)
    ids = due_ids(ledger, 2003.0)
    assert set(ids[:2]) == {study.study_id for study in small}
    assert ids[2] == single.study_id


def test_what_was_published_is_lost_only_by_the_measure_of_its_own_list(ledger: Ledger) -> None:
    (bulk,) = unpacked(ledger, 1, now_s=2000.0)
    publish(ledger, 2000.0, 1)
    bounds = {(stage, priority): 0.0 for stage in Stage for priority in Priority}
    for other in ((Stage.CLASSIFY, Priority.WALK_IN), (Stage.DETECT, Priority.BULK)):
        assert ledger.lost_studies(now_s=2010.0, due_before_s=bounds | {other: 9999.0}, limit=9) == []
    found = ledger.lost_studies(now_s=2010.0, due_before_s=bounds | {(Stage.CLASSIFY, Priority.BULK): 9999.0}, limit=9)
    assert [(due.study_id, due.priority) for due in found] == [(bulk.study_id, Priority.BULK)]


def test_an_outage_costs_no_attempt(ledger: Ledger) -> None:
    study = accepted(ledger)
    now_s = 1100.0
    for setbacks in range(20):
        held = claim(ledger, study, now_s=now_s)
        assert (held.attempt, held.setbacks) == (1, setbacks)
        assert held.troubled_since_s == (1100.5 if setbacks else None)
        reason = Reason("store_unavailable")
        assert ledger.retry(held, reason, now_s=now_s + 0.5, due_at_s=now_s + 100.0, counts=False)
        assert due_ids(ledger, now_s + 99.0) == []
        now_s += 100.0
    told = [event for event in ledger.history(study.study_id, site="main") if event.what == "retried"]
    assert len(told) == 5
    held = claim(ledger, study, now_s=now_s)
    assert ledger.advance(held, now_s=now_s, due_at_s=9000.0)
    held = claim(ledger, study, Stage.DETECT, now_s=now_s)
    assert (held.attempt, held.setbacks, held.troubled_since_s) == (1, 0, None)


def test_an_outage_costs_a_batch_no_attempt(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    for setbacks in range(5):
        now_s = 100.0 * setbacks
        held = ledger.claim_batch(batch.batch_id, owner="a", now_s=now_s, lease_s=60.0)
        assert held is not None
        assert (held.attempt, held.setbacks) == (1, setbacks)
        assert ledger.retry_batch(held, now_s=now_s, due_at_s=now_s + 100.0, counts=False)
    assert due_batches(ledger, 499.0, 499.0) == []
    assert due_batches(ledger, 500.0, 500.0) == [batch.batch_id]


def test_a_lease_is_held_longer_as_long_as_it_is_held(ledger: Ledger) -> None:
    study = accepted(ledger)
    held = claim(ledger, study, now_s=1100.0)
    assert ledger.renew(held, until_s=1200.0)
    assert due_ids(ledger, 1199.0) == []
    assert ledger.claim(study.study_id, Stage.CLASSIFY, owner="b", now_s=1199.0, lease_s=60.0) is None
    assert ledger.claim(study.study_id, Stage.CLASSIFY, owner="b", now_s=1200.0, lease_s=60.0) is not None
    assert not ledger.renew(held, until_s=1300.0)


def test_a_batchs_lease_is_held_longer_too(ledger: Ledger) -> None:
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=1.0)
    held = ledger.claim_batch(batch.batch_id, owner="a", now_s=100.0, lease_s=60.0)
    assert held is not None
    assert ledger.renew_batch(held, until_s=300.0)
    assert due_batches(ledger, 299.0, 299.0) == []
    assert ledger.claim_batch(batch.batch_id, owner="b", now_s=300.0, lease_s=60.0) is not None
    assert not ledger.renew_batch(held, until_s=400.0)


def test_one_leads_and_another_takes_over(ledger: Ledger) -> None:
    assert ledger.lead("scheduler", "a", now_s=100.0, lease_s=10.0)
    assert not ledger.lead("scheduler", "b", now_s=109.0, lease_s=10.0)
    assert ledger.lead("scheduler", "a", now_s=109.0, lease_s=10.0)
    assert not ledger.lead("scheduler", "b", now_s=118.0, lease_s=10.0)
    assert ledger.lead("scheduler", "b", now_s=119.0, lease_s=10.0)
    assert not ledger.lead("scheduler", "a", now_s=119.5, lease_s=10.0)
    ledger.resign("scheduler", "a")
    assert not ledger.lead("scheduler", "a", now_s=120.0, lease_s=10.0)
    ledger.resign("scheduler", "b")
    assert ledger.lead("scheduler", "a", now_s=120.0, lease_s=10.0)


def test_a_clock_that_was_set_back_leaves_no_leader_for_ever(ledger: Ledger) -> None:
    assert ledger.lead("scheduler", "a", now_s=99_999.0, lease_s=10.0)
    assert ledger.lead("scheduler", "b", now_s=100.0, lease_s=10.0)


def test_of_many_that_want_to_lead_one_does(ledger: Ledger) -> None:
    def apply(number: int) -> bool:
        return ledger.lead("scheduler", f"candidate {number}", now_s=100.0, lease_s=10.0)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(apply, range(16))) == 1


def test_what_a_clock_put_off_beyond_any_wait_is_pulled_forward(ledger: Ledger) -> None:
    held, waiting, published = (accepted(ledger, due_s=100_000.0 + number) for number in range(3))
    claim(ledger, held, now_s=100_100.0)
    ledger.retry(claim(ledger, waiting, now_s=100_100.0), Reason("store_full"), now_s=100_100.0, due_at_s=100_200.0)
    live = accepted(ledger, due_s=1500.0)
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=100_000.0)
    assert ledger.pull_forward(now_s=1000.0, beyond_s=2000.0) == 4
    assert set(due_ids(ledger, 1000.0)) == {held.study_id, waiting.study_id, published.study_id}
    assert lost_ids(ledger, 1000.0, due_before_s=2000.0) == [live.study_id]
    assert due_batches(ledger, 1000.0, 1000.0) == [batch.batch_id]
    assert ledger.pull_forward(now_s=1000.0, beyond_s=2000.0) == 0


def test_by_hand_everything_nobody_holds_is_due_at_once(ledger: Ledger) -> None:
    held, waiting, published = (accepted(ledger, due_s=9000.0) for _ in range(3))
    claim(ledger, held, now_s=1100.0)
    ledger.retry(claim(ledger, waiting, now_s=1100.0), Reason("store_full"), now_s=1100.0, due_at_s=5000.0)
    batch = new_batch()
    ledger.accept_batch(batch, publish_due_at_s=9000.0)
    assert ledger.make_due(now_s=1101.0) == 3
    assert set(due_ids(ledger, 1101.0)) == {waiting.study_id, published.study_id}
    assert due_batches(ledger, 1101.0, 1101.0) == [batch.batch_id]
    assert claim(ledger, waiting, now_s=1101.0).attempt == 2
