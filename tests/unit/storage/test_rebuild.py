"""A ledger that is lost and made anew says what the lost one said."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fractureai.domain import keys
from fractureai.domain.assessment import Finding
from fractureai.domain.reasons import Reason
from fractureai.domain.records import StudyFilter
from fractureai.domain.result import ImageResult, StudyResult
from fractureai.domain.study import Assessment, Batch, SourceImage, Stage, Study, Upload, WorkState
from fractureai.domain.study_json import batch_from_json, batch_to_json, study_from_json, study_to_json
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore
from fractureai.storage.rebuild import Rebuilt, rebuild


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store", durable=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


def kept_study(store: LocalStore, *, site: str = "main", batch_id: str | None = None) -> Study:
    images = (SourceImage(1, "größe.dcm", 5, "ab" * 32), SourceImage(2, "b.png", 6, "cd" * 32))
    study = Study(site, uuid.uuid4().hex, batch_id or uuid.uuid4().hex, "walk-in", 1000.25, images)
    store.put(keys.study_json(site, study.study_id), json.dumps(study_to_json(study)).encode())
    return study


def keep_result(store: LocalStore, study: Study, state: WorkState) -> None:
    finding = Finding(Assessment.SUSPECTED, (Reason("near_threshold"),))
    image = ImageResult(1, "a", finding, True, "hand", 0.9, fracture_probability=0.625)
    result = StudyResult(study.study_id, study.label, state, finding, (image,), (), "0.1.0")
    store.put(keys.result_json(study.site, study.study_id), json.dumps(result.to_json()).encode())


def keep_batch(store: LocalStore, *, with_uploads: bool) -> Batch:
    batch = Batch("main", uuid.uuid4().hex, "night", 1000.0, (Upload(1, "a.zip", 3, "ef" * 32),))
    store.put(keys.batch_json("main", batch.batch_id), json.dumps(batch_to_json(batch)).encode())
    if with_uploads:
        store.put(keys.batch_upload("main", batch.batch_id, 1), b"zip")
    return batch


def test_documents_say_all_there_is(store: LocalStore) -> None:
    study, batch = kept_study(store), keep_batch(store, with_uploads=False)
    assert study_from_json(json.loads(json.dumps(study_to_json(study)))) == study
    assert batch_from_json(json.loads(json.dumps(batch_to_json(batch)))) == batch


@pytest.mark.parametrize("data", [{}, [], None, "x", {"site": "main", "images": [1]}, {"site": "../x"}])
def test_documents_that_are_none(data: object) -> None:
    for read in (study_from_json, batch_from_json):
        with pytest.raises(ValueError, match="not a"):
            read(data)


@pytest.mark.parametrize("state", [WorkState.DONE, WorkState.FAILED, WorkState.REJECTED])
def test_what_ended_has_ended(store: LocalStore, ledger: SqlLedger, state: WorkState) -> None:
    study = kept_study(store)
    keep_result(store, study, state)
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt(ended_studies=1)
    row = ledger.study(study.study_id, site="main")
    assert (row.state, row.assessment, row.region) == (state, Assessment.SUSPECTED, "hand")
    assert (row.max_fracture_probability, row.reasons) == (0.625, (Reason("near_threshold"),))
    assert (row.accepted_at_s, row.finished_at_s) == (1000.25, 2000.0)
    assert ledger.sources(study.study_id, site="main") == study
    assert ledger.due_studies(now_s=9999.0, limit=9) == []
    assert [event.what for event in ledger.history(study.study_id, site="main")] == ["accepted", "restored"]


def test_what_was_open_goes_on_where_it_stood(store: LocalStore, ledger: SqlLedger) -> None:
    fresh, half = kept_study(store), kept_study(store)
    store.put(keys.classification_json("main", half.study_id), b"{}")
    store.put(keys.detection_json("main", half.study_id), b"{}")
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt(open_studies=2)
    due = {entry.study_id: entry.stage for entry in ledger.due_studies(now_s=2000.0, limit=9)}
    assert due == {fresh.study_id: Stage.CLASSIFY, half.study_id: Stage.EXPLAIN}


def test_a_failed_study_can_be_reopened_where_it_failed(store: LocalStore, ledger: SqlLedger) -> None:
    study = kept_study(store)
    store.put(keys.classification_json("main", study.study_id), b"{}")
    keep_result(store, study, WorkState.FAILED)
    rebuild(store, ledger, now_s=2000.0)
    assert ledger.reopen(study.study_id, site="main", now_s=2001.0)
    assert ledger.study(study.study_id, site="main").stage is Stage.DETECT


def test_batches_are_unpacked_again_while_their_uploads_are_there(store: LocalStore, ledger: SqlLedger) -> None:
    waiting, unpacked = keep_batch(store, with_uploads=True), keep_batch(store, with_uploads=False)
    study = kept_study(store, batch_id=unpacked.batch_id)
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt(batches=2, open_studies=1)
    due_batches = ledger.due_batches(now_s=2000.0, due_before_s=2000.0, limit=9)
    assert [batch.batch_id for batch in due_batches] == [waiting.batch_id]
    assert ledger.claim_batch(waiting.batch_id, owner="a", now_s=2001.0, lease_s=1.0).batch == waiting
    row = ledger.batch(unpacked.batch_id, site="main")
    assert (row.state, row.label, row.counts) == (WorkState.DONE, "night", {WorkState.OPEN: 1})
    assert ledger.studies(site="main", which=StudyFilter(batch_id=unpacked.batch_id)).rows[0].study_id == study.study_id


def test_what_the_ledger_knows_is_left_alone(store: LocalStore, ledger: SqlLedger) -> None:
    study = kept_study(store)
    ledger.accept_study(study, publish_due_at_s=5000.0)
    keep_result(store, study, WorkState.DONE)
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt()
    assert ledger.study(study.study_id, site="main").state is WorkState.OPEN
    other = kept_study(store, site="other")
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt(open_studies=1)
    assert rebuild(store, ledger, now_s=3000.0) == Rebuilt()
    assert ledger.study(other.study_id, site="other").updated_at_s == 2000.0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"site": "main"}', b"\xff\xfe"])
def test_one_damaged_document_keeps_no_other_back(store: LocalStore, ledger: SqlLedger, damage: bytes) -> None:
    study, lost = kept_study(store), kept_study(store)
    store.put(keys.study_json("main", lost.study_id), damage)
    store.put(keys.result_json("main", study.study_id), damage)
    store.put(keys.batch_json("main", uuid.uuid4().hex), damage)
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt(open_studies=1, unreadable=2)
    assert ledger.study(study.study_id, site="main").state is WorkState.OPEN


def test_a_document_under_another_key_is_not_believed(store: LocalStore, ledger: SqlLedger) -> None:
    study = kept_study(store)
    store.put(keys.study_json("other", study.study_id), store.get(keys.study_json("main", study.study_id)))
    assert rebuild(store, ledger, now_s=2000.0) == Rebuilt(open_studies=1, unreadable=1)
