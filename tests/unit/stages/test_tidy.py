"""What the intake leaves in the store goes, whoever dies in between; what is still needed stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fractureai.domain import keys
from fractureai.domain.study import Batch, Upload
from fractureai.errors import TransientFailure
from fractureai.stages import intake, tidy
from fractureai.storage.local import LocalStore
from tests.bad_files import phantom_dicom
from tests.unit.stages.conftest import House

DAY_S = 24 * 3600.0


def files_of(house: House, batch: Batch) -> list[str]:
    kept = keys.batch_json("local", batch.batch_id)
    return sorted(key for key in house.store.keys(f"sites/local/batches/{batch.batch_id}/") if key != kept)


def test_uploads_go_once_the_studies_are_recorded(house: House) -> None:
    batch = house.batch(("a.dcm", phantom_dicom()), ("b.png", b"\x89PNG"))
    assert intake.run(batch.batch_id, house) == "done"
    assert files_of(house, batch) == []
    for row in house.ledger.studies(site="local").rows:
        study = house.ledger.sources(row.study_id, site="local")
        assert study is not None
        assert house.store.size_bytes(keys.source("local", row.study_id, 1)) == study.images[0].size_bytes
    house.now_s += DAY_S
    assert tidy.run(house) == 0


class Breaking:
    """A store that is away as soon as something is to be deleted."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, key: str) -> None:
        raise TransientFailure("store_unavailable")


def test_what_a_dead_worker_left_goes_later(house: House) -> None:
    batch = house.batch(("a.png", b"\x89PNG"))
    store, house.store = house.store, Breaking(house.store)  # type: ignore[assignment]
    assert intake.run(batch.batch_id, house) == "done"
    house.store = store
    assert len(files_of(house, batch)) == 1
    assert tidy.run(house) == 0
    house.now_s += 3600
    assert tidy.run(house) == 1
    assert files_of(house, batch) == []
    assert tidy.run(house) == 0


def test_the_same_file_twice_is_one_study_and_one_reason(house: House) -> None:
    batch = house.batch(("a.png", b"\x89PNG one"), ("again.png", b"\x89PNG one"), ("b.png", b"\x89PNG two"))
    assert intake.run(batch.batch_id, house) == "done"
    assert {row.label for row in house.ledger.studies(site="local").rows} == {"a.png", "b.png"}
    row = house.ledger.batch(batch.batch_id, site="local")
    assert row is not None
    assert [(name, reason.code) for name, reason in row.rejected_uploads] == [("again.png", "duplicate_file")]


def upload(house: House, data: bytes = b"x") -> tuple[str, Upload]:
    batch_id = house.new_id()
    house.ledger.begin_upload(batch_id, site="local", now_s=house.now_s)
    stored = house.store.put(keys.batch_upload("local", batch_id, 1), data)
    file = Upload(1, "a.png", stored.size_bytes, stored.sha256)
    assert house.ledger.arrived(batch_id, file, site="local", now_s=house.now_s)
    return batch_id, file


def test_an_upload_nobody_completes_goes_after_a_day(house: House) -> None:
    stale, _ = upload(house)
    house.now_s += DAY_S - 60
    live, file = upload(house)
    assert tidy.run(house) == 0
    house.now_s += 120
    assert tidy.run(house) == 1
    assert house.store.size_bytes(keys.batch_upload("local", stale, 1)) is None
    assert house.ledger.complete_upload(Batch("local", live, "", house.now_s, (file,)), publish_due_at_s=1.0)
    house.now_s += 10 * DAY_S
    assert tidy.run(house) == 0
    assert house.store.size_bytes(keys.batch_upload("local", live, 1)) == 1


@pytest.mark.parametrize("act", ["complete", "arrive"])
def test_what_is_expired_can_not_be_gone_on_with(house: House, act: str) -> None:
    batch_id, file = upload(house)
    house.now_s += DAY_S + 1
    store, house.store = house.store, Breaking(house.store)  # type: ignore[assignment]
    tidy.run(house)
    house.store = store
    acts: dict[str, Callable[[], bool]] = {
        "complete": lambda: house.ledger.complete_upload(
            Batch("local", batch_id, "", house.now_s, (file,)), publish_due_at_s=1.0
        ),
        "arrive": lambda: house.ledger.arrived(batch_id, file, site="local", now_s=house.now_s),
    }
    assert not acts[act]()
    assert tidy.run(house) == 1
    assert list(house.store.keys("")) == []


def received(house: House, *, batch: bool) -> str:
    """Bytes of a form whose process died before anything was accepted."""
    subject_id = house.new_id()
    house.ledger.begin_receiving(subject_id, site="local", now_s=house.now_s)
    key = keys.batch_upload("local", subject_id, 1) if batch else keys.source("local", subject_id, 1)
    house.store.put(key, b"x")
    document = keys.batch_json if batch else keys.study_json
    house.store.put(document("local", subject_id), b"{}")
    return subject_id


@pytest.mark.parametrize("batch", [False, True])
def test_bytes_without_a_row_go_after_a_day(house: House, *, batch: bool) -> None:
    received(house, batch=batch)
    house.now_s += DAY_S - 60
    assert tidy.run(house) == 0
    house.now_s += 120
    assert tidy.run(house) == 1
    assert list(house.store.keys("")) == []
    assert tidy.run(house) == 0


def test_what_was_accepted_is_no_leftover(house: House) -> None:
    study = house.study(b"x")
    house.ledger.begin_receiving(study.study_id, site="local", now_s=house.now_s)
    house.ledger.accept_study(study, publish_due_at_s=house.now_s)
    batch_id = house.new_id()
    house.ledger.begin_receiving(batch_id, site="local", now_s=house.now_s)
    house.store.put(keys.batch_upload("local", batch_id, 1), b"x")
    batch = Batch("local", batch_id, "", house.now_s, (Upload(1, "a", 1, "0" * 64),))
    house.ledger.accept_batch(batch, publish_due_at_s=house.now_s)
    kept = set(house.store.keys(""))
    house.now_s += 10 * DAY_S
    assert tidy.run(house) == 0
    assert set(house.store.keys("")) == kept


def test_what_is_accepted_after_it_had_expired_is_no_leftover_either(house: House) -> None:
    study = house.study(b"x")
    house.ledger.begin_receiving(study.study_id, site="local", now_s=house.now_s)
    house.now_s += DAY_S + 1
    store, house.store = house.store, Breaking(house.store)  # type: ignore[assignment]
    assert tidy.run(house) == 0
    house.store = store
    house.ledger.accept_study(study, publish_due_at_s=house.now_s)
    assert tidy.run(house) == 0
    assert house.store.size_bytes(keys.source("local", study.study_id, 1)) == 1
