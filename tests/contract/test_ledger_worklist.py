"""The worklist on every ledger: filters, words, both orders, and that it stays fast."""

from __future__ import annotations

import time
import uuid

import pytest

from bench.filled import batch_id_of, fill
from fractureai.domain.ports import Ledger
from fractureai.domain.records import StudyFilter, StudyRow, WorklistOrder
from fractureai.domain.study import Assessment, SourceImage, Stage, Study, WorkState
from fractureai.storage.ledger import rows
from fractureai.storage.ledger.sql import SqlLedger

_MANY = 100_000


def add(
    ledger: Ledger,
    label: str = "",
    *,
    assessment: Assessment | None = None,
    probability: float | None = None,
    region: str | None = "hand",
    accepted_at_s: float = 1000.0,
    file_name: str = "a.dcm",
) -> str:
    image = SourceImage(1, file_name, 1, "ab" * 32)
    study = Study("main", uuid.uuid4().hex, uuid.uuid4().hex, label, accepted_at_s, (image,))
    ledger.accept_study(study, publish_due_at_s=1.0)
    if assessment is not None:
        held = ledger.claim(study.study_id, Stage.CLASSIFY, owner="a", now_s=2.0, lease_s=9.0)
        assert held is not None
        assert ledger.finish(
            held,
            WorkState.DONE,
            now_s=3.0,
            assessment=assessment,
            region=region,
            max_fracture_probability=probability,
            reasons=[],
        )
    return study.study_id


def ids(ledger: Ledger, order: WorklistOrder = WorklistOrder.NEWEST, **which: object) -> list[str]:
    return [row.study_id for row in ledger.studies(site="main", which=StudyFilter(**which), order=order).rows]  # type: ignore[arg-type]


def walk(ledger: Ledger, which: StudyFilter, order: WorklistOrder, limit: int) -> list[StudyRow]:
    seen: list[StudyRow] = []
    cursor = None
    while True:
        page = ledger.studies(site="main", which=which, order=order, cursor=cursor, limit=limit)
        seen += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return seen


def test_the_most_suspicious_first(ledger: Ledger) -> None:
    open_study = add(ledger, accepted_at_s=9000.0)
    normal = add(ledger, assessment=Assessment.NO_FRACTURE, probability=0.19)
    unread = add(ledger, assessment=Assessment.INCONCLUSIVE)
    certain = add(ledger, assessment=Assessment.FRACTURE, probability=1.0)
    likely = add(ledger, assessment=Assessment.FRACTURE, probability=0.7)
    suspected = add(ledger, assessment=Assessment.SUSPECTED, probability=1.0)
    refused = add(ledger, assessment=Assessment.INCONCLUSIVE, probability=0.99)
    order = [certain, likely, suspected, refused, unread, normal, open_study]
    assert ids(ledger, WorklistOrder.MOST_SUSPICIOUS) == order
    found = walk(ledger, StudyFilter(), WorklistOrder.MOST_SUSPICIOUS, 2)
    assert [row.study_id for row in found] == order
    assert ids(ledger, WorklistOrder.MOST_SUSPICIOUS, assessment=Assessment.FRACTURE) == [certain, likely]


def test_equals_are_walked_once_each_in_either_order(ledger: Ledger) -> None:
    for number in range(23):
        add(ledger, assessment=Assessment.SUSPECTED, probability=0.1 * (number // 8), accepted_at_s=number // 3)
    for order in WorklistOrder:
        found = walk(ledger, StudyFilter(state=WorkState.DONE), order, 4)
        assert len({row.study_id for row in found}) == len(found) == 23
        keys = [rows.SORT_KEYS[order](row) for row in found]
        assert keys == sorted(keys, reverse=True)


def test_filters_narrow_together(ledger: Ledger) -> None:
    old = add(ledger, "Anna", assessment=Assessment.FRACTURE, region="hand", accepted_at_s=100.0)
    new = add(ledger, "Anna", assessment=Assessment.FRACTURE, region="elbow", accepted_at_s=200.0)
    add(ledger, "Berta", assessment=Assessment.NO_FRACTURE, region="elbow", accepted_at_s=300.0)
    assert ids(ledger, assessment=Assessment.FRACTURE) == [new, old]
    assert ids(ledger, assessment=Assessment.FRACTURE, region="elbow") == [new]
    assert ids(ledger, accepted_from_s=100.0, accepted_to_s=200.0) == [old]
    assert ids(ledger, accepted_from_s=200.0, accepted_to_s=300.0) == [new]
    assert ids(ledger, text="anna", region="hand") == [old]
    assert ids(ledger, region="hand", state=WorkState.FAILED) == []
    assert ledger.studies(site="other", which=StudyFilter(text="anna")).rows == ()


@pytest.mark.parametrize(
    "text",
    ["größe", "GROSSE", "gross", "wrist fall", "fall wri", "2024-11", "img_00", "0042", "  wrist ", "IMG_0042.DCM"],
)
def test_text_that_finds(ledger: Ledger, text: str) -> None:
    add(ledger, "another elbow")
    study_id = add(ledger, "Größe 3: wrist after a FALL (2024-11-02)", file_name="night/IMG_0042.dcm")
    assert ids(ledger, text=text) == [study_id]


@pytest.mark.parametrize("text", ["rist", "elbow wrist", "%", "_", "'; DROP TABLE studies", "\U0010ffff", "--", "日本"])
def test_text_that_does_not(ledger: Ledger, text: str) -> None:
    add(ledger, "elbow")
    add(ledger, "wrist")
    assert ids(ledger, text=text) == []


def test_a_study_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    study_ids = [add(ledger) for _ in range(5)]
    assert ids(ledger, text=study_ids[2][:10].upper()) == [study_ids[2]]
    assert ids(ledger, text=study_ids[3]) == [study_ids[3]]


@pytest.mark.parametrize("cursor", ["1.0_" + "0" * 32, "", "1_2_3", "1.0_inf_" + "0" * 32])
def test_a_cursor_of_the_other_order_is_none(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 any will do
        ledger.studies(site="main", order=WorklistOrder.MOST_SUSPICIOUS, cursor=cursor)


@pytest.fixture
def full_ledger(ledger: SqlLedger) -> SqlLedger:
    """100,000 studies."""
    fill(ledger, _MANY, site="main")
    return ledger


_QUESTIONS = [
    StudyFilter(),
    StudyFilter(state=WorkState.DONE),
    StudyFilter(state=WorkState.FAILED),
    StudyFilter(assessment=Assessment.FRACTURE),
    StudyFilter(assessment=Assessment.NO_FRACTURE, region="hip"),
    StudyFilter(region="hip", accepted_to_s=500.0),
    StudyFilter(accepted_from_s=400.0, accepted_to_s=500.0),
    StudyFilter(text="n4711"),
    StudyFilter(text="scan"),
    StudyFilter(text="scan", assessment=Assessment.FRACTURE, region="hip"),
    StudyFilter(text="nothing"),
    StudyFilter(batch_id=batch_id_of(6)),
    StudyFilter(batch_id=batch_id_of(6), region="hip", assessment=Assessment.FRACTURE),
]


@pytest.mark.timeout(180)
def test_any_question_is_answered_soon_among_a_hundred_thousand(full_ledger: SqlLedger) -> None:
    """A bound that only a scan of the table breaks; the figures are in ``bench``."""
    if full_ledger._connections.dialect == "postgresql":
        with full_ledger._connections.write(durable=False) as connection:
            connection.exec_driver_sql("ANALYZE")
    took: dict[str, float] = {}
    for order in WorklistOrder:
        for which in _QUESTIONS:
            cursor = full_ledger.studies(site="main", which=which, order=order, limit=50).next_cursor
            best = min(_timed(full_ledger, which, order, cursor) for _ in range(3))
            took[f"{order} {which}"] = best
    took["finished since"] = min(_timed_since(full_ledger) for _ in range(3))
    slow = {question: best for question, best in took.items() if best > 0.25}
    assert not slow


def _timed(ledger: Ledger, which: StudyFilter, order: WorklistOrder, cursor: str | None) -> float:
    start = time.perf_counter()
    ledger.studies(site="main", which=which, order=order, cursor=cursor, limit=50)
    return time.perf_counter() - start


def _timed_since(ledger: SqlLedger) -> float:
    start = time.perf_counter()
    ledger.finished_since(site="main", cursor="", limit=50)
    return time.perf_counter() - start
