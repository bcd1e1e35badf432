"""Images that come in one by one become one study when it is quiet, and late ones a revision of it: on every ledger."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from fractureai.domain import keys
from fractureai.domain.access import Kind, Principal, Scope
from fractureai.domain.identity import examination_id
from fractureai.domain.retention import Certificate
from fractureai.domain.study import Stage, WorkState
from fractureai.errors import TransientFailure
from fractureai.imaging.decoder import ChildDecoder
from fractureai.stages import examinations
from fractureai.stages.forget import ForgetPorts, delete_studies
from fractureai.storage.ledger.dicom_tables import EXAMINATIONS, INSTANCES, REVISIONS
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore
from tests.unit.stages.arriving import QUIET, STUDY, arrive, unpack
from tests.unit.stages.conftest import House

EXAMINATION = examination_id("local", STUDY)


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    decoder = ChildDecoder()
    yield decoder
    decoder.close()


@pytest.fixture
def quiet_house(ledger: SqlLedger, decoder: ChildDecoder, tmp_path: Path) -> House:
    house = House(LocalStore(tmp_path / "store", durable=False), ledger, decoder)
    house.policy = dataclasses.replace(house.policy, quiet=QUIET, revise_within_s=1000)
    return house


def test_a_quiet_examination_is_one_study(quiet_house: House) -> None:
    house = quiet_house
    views = [b"one view", b"another"]
    assert arrive(house, "1", views[0])
    house.now_s += 9
    assert arrive(house, "2", views[1])
    assert not arrive(house, "2", views[1])
    house.now_s += 9
    assert examinations.run(house) == 0
    house.now_s += 1
    assert examinations.run(house) == 1
    assert examinations.run(house) == 0
    (study_id,) = unpack(house)
    study = house.ledger.sources(study_id, site="local")
    assert study is not None
    assert [image.file_name for image in study.images] == ["DX-1.dcm", "DX-2.dcm"]
    assert study.label == "DX from XRAY1"
    assert [house.store.get(keys.source("local", study_id, number)) for number in (1, 2)] == views
    place = house.ledger.revision_of(study_id, site="local")
    assert place is not None
    assert (place.number, place.supersedes, place.superseded_by) == (1, None, None)
    assert house.ledger.revision_of(study_id, site="elsewhere") is None


def test_other_bytes_under_one_uid_are_another_image(quiet_house: House) -> None:
    house = quiet_house
    for data, is_new in ((b"frontal", True), (b"lateral", True), (b"lateral", False), (b"frontal", False)):
        assert arrive(house, "1", data) is is_new
        house.now_s += 1
    house.now_s += 10
    assert examinations.run(house) == 1
    (study_id,) = unpack(house)
    assert [house.store.get(keys.source("local", study_id, number)) for number in (1, 2)] == [b"frontal", b"lateral"]
    arrive(house, "1", b"corrected")
    house.now_s += 10
    assert examinations.run(house) == 1
    study = house.ledger.sources(unpack(house)[-1], site="local")
    assert study is not None
    assert len(study.images) == 3


def test_one_uid_in_two_studies_is_an_image_of_each(quiet_house: House) -> None:
    house = quiet_house
    assert arrive(house, "1", b"of one")
    assert arrive(house, "1", b"of another", study="1.2.3.9")
    house.now_s += 10
    assert examinations.run(house) == 2
    kept = {house.store.get(keys.source("local", study_id, 1)) for study_id in unpack(house)}
    assert kept == {b"of one", b"of another"}


def test_it_closes_although_images_keep_coming(quiet_house: House) -> None:
    for number in range(20):
        arrive(quiet_house, str(number))
        quiet_house.now_s += 6
    assert examinations.run(quiet_house) == 1


def test_a_late_image_revises_the_study(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"first")
    house.now_s += 10
    examinations.run(house)
    (first,) = unpack(house)
    house.now_s += 500
    arrive(house, "2", b"late")
    house.now_s += 10
    assert examinations.run(house) == 1
    _, second = unpack(house)
    study = house.ledger.sources(second, site="local")
    assert study is not None
    assert len(study.images) == 2
    assert study.label == "DX from XRAY1, revision 2"
    before, after = (house.ledger.revision_of(each, site="local") for each in (first, second))
    assert before is not None
    assert after is not None
    assert (before.superseded_by, after.number, after.supersedes) == (second, 2, first)


def test_one_that_comes_too_late_is_a_study_of_its_own(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"first")
    house.now_s += 10
    examinations.run(house)
    (first,) = unpack(house)
    house.now_s += 1001
    assert examinations.tidy(house) == 1
    assert list(house.store.keys("sites/local/arrivals/")) == []
    assert house.store.get(keys.source("local", first, 1)) == b"first"
    assert not arrive(house, "1", b"first")
    assert arrive(house, "2", b"late")
    house.now_s += 10
    examinations.run(house)
    _, second = unpack(house)
    study = house.ledger.sources(second, site="local")
    place = house.ledger.revision_of(second, site="local")
    assert study is not None
    assert place is not None
    assert (len(study.images), place.supersedes) == (1, None)


@pytest.mark.parametrize("cut", ["copying", "accepting", "closing"])
def test_a_closing_that_is_cut_off_makes_the_same_study(
    quiet_house: House, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = quiet_house
    arrive(house, "1", b"one")
    arrive(house, "2", b"two")
    house.now_s += 10

    def fail(*_: object, **__: object) -> None:
        raise TransientFailure("ledger_unavailable")

    with monkeypatch.context() as patch:
        if cut == "copying":
            patch.setattr(house.store, "copy", fail)
        elif cut == "accepting":
            patch.setattr(house.ledger, "accept_batch", fail)
        else:
            patch.setattr(house.ledger, "examination_closed", fail)
        assert examinations.run(house) == 0
        arrive(house, "3", b"in between")
    house.now_s += 200
    assert examinations.run(house) == 1
    first = unpack(house)
    assert len(first) == 1
    study = house.ledger.sources(first[0], site="local")
    assert study is not None
    assert len(study.images) == 2
    house.now_s += 10
    assert examinations.run(house) == 1
    study = house.ledger.sources(unpack(house)[1], site="local")
    assert study is not None
    assert len(study.images) == 3


def test_what_a_crash_left_before_the_acknowledgement_is_swept_away(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"acknowledged")
    house.store.put(keys.arrival("local", uuid.uuid4().hex, house.now_s), b"not acknowledged")
    assert examinations.sweep(["local"], house) == 0
    house.now_s += 26 * 3600
    assert examinations.sweep(["local"], house) == 1
    (left,) = house.store.keys("sites/local/arrivals/")
    assert house.store.get(left) == b"acknowledged"


def test_another_process_sees_it_all(quiet_house: House, ledger_url: str) -> None:
    """Nothing of it is in anybody's memory."""
    house = quiet_house
    arrive(house, "1")
    house.now_s += 10
    house.ledger = SqlLedger.open(ledger_url)
    assert examinations.run(house) == 1
    (study_id,) = unpack(house)
    row = house.ledger.study(study_id, site="local")
    assert row is not None
    assert row.state is WorkState.OPEN
    house.ledger.close()


# Many at once.


def test_of_many_who_send_an_image_at_once_one_brings_it(quiet_house: House) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        new = list(pool.map(lambda number: arrive(quiet_house, str(number % 4)), range(16)))
    assert new.count(True) == 4
    assert len(list(quiet_house.store.keys("sites/local/arrivals/"))) == 4


def test_of_many_who_close_an_examination_one_does(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1")
    house.now_s += 10
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        closed = list(pool.map(lambda _: examinations.run(house), range(6)))
    assert sorted(closed) == [0, 0, 0, 0, 0, 1]
    assert len(unpack(house)) == 1


def test_an_image_that_comes_while_its_examination_is_forgotten_is_kept(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with house.ledger._connections.write(durable=False) as connection:
            connection.execute(delete(INSTANCES))
            connection.execute(delete(EXAMINATIONS))
            coming = pool.submit(arrive, house, "2")
            with pytest.raises(concurrent.futures.TimeoutError):
                coming.result(0.3)
        assert coming.result(30)
    assert house.ledger.due_examinations(now_s=1e9, limit=9) == [EXAMINATION]


# Deletion.


def finished(house: House) -> str:
    """The last study, done."""
    study_id = unpack(house)[-1]
    held = house.ledger.claim(study_id, Stage.CLASSIFY, owner="a", now_s=house.now_s, lease_s=9.0)
    assert held is not None
    nothing: dict[str, Any] = {"assessment": None, "region": None, "max_fracture_probability": None, "reasons": []}
    assert house.ledger.finish(held, WorkState.DONE, now_s=house.now_s, **nothing)
    return study_id


def close(house: House) -> str:
    """A study of what came; its id, when it is done."""
    house.now_s += 10
    assert examinations.run(house) == 1
    return finished(house)


def forget(house: House, *studies: str) -> Certificate:
    certificate = Certificate(uuid.uuid4().hex, "local", house.now_s, "a test", "asked for")
    who = Principal(Kind.OPERATOR, "cli:test", "a test", "local", frozenset(Scope))
    return delete_studies(studies, certificate, who, ForgetPorts(house.store, house.ledger, b"s" * 32))


def left(house: House) -> dict[str, int]:
    """Rows of what came in, and objects of it in the store."""
    with house.ledger._connections.read() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (EXAMINATIONS, INSTANCES, REVISIONS)
        }
    return counts | {"arrivals": len(list(house.store.keys("sites/local/arrivals/")))}


NOTHING = {"examinations": 0, "dicom_instances": 0, "study_revisions": 0, "arrivals": 0}


def test_a_deleted_study_leaves_nothing_of_what_came_in_for_it(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"one")
    arrive(house, "2", b"two")
    first = close(house)
    arrive(house, "3", b"late")
    second = close(house)
    certificate = forget(house, first, second)
    assert [study.study_id for study in certificate.studies] == [first, second]
    assert left(house) == NOTHING
    assert [key for key in house.store.keys("sites/") if "/certificates/" not in key] == []
    removed = {each.key for study in certificate.studies for each in study.objects}
    assert len([key for key in removed if "/arrivals/" in key]) == 3
    # What comes again is new.
    assert arrive(house, "1", b"one")


def test_what_came_in_stays_as_long_as_a_revision_needs_it(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"one")
    first = close(house)
    arrive(house, "2", b"late")
    second = close(house)
    forget(house, first)
    assert left(house)["arrivals"] == 2
    place = house.ledger.revision_of(second, site="local")
    assert place is not None
    assert place.number == 2
    assert examinations.tidy(house) == 0
    forget(house, second)
    assert left(house) == NOTHING


def test_what_came_in_for_a_deleted_revision_goes_with_it_and_the_one_before_holds_again(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"one")
    first = close(house)
    arrive(house, "2", b"late")
    forget(house, close(house))
    assert left(house) == {"examinations": 1, "dicom_instances": 1, "study_revisions": 1, "arrivals": 1}
    arrive(house, "3", b"later")
    third = close(house)
    before, after = (house.ledger.revision_of(each, site="local") for each in (first, third))
    assert before is not None
    assert after is not None
    assert (before.superseded_by, after.number, after.supersedes) == (third, 3, first)
    row = house.ledger.study(third, site="local")
    assert row is not None
    assert row.image_count == 2


def test_a_revision_stays_superseded_when_the_one_after_it_is_deleted(quiet_house: House) -> None:
    house = quiet_house
    studies = []
    for number in range(3):
        arrive(house, str(number), str(number).encode())
        studies.append(close(house))
    forget(house, studies[1])
    before, after = (house.ledger.revision_of(each, site="local") for each in (studies[0], studies[2]))
    assert before is not None
    assert after is not None
    assert (before.superseded_by, after.supersedes) == (studies[2], studies[0])
    assert left(house)["arrivals"] == 3


def test_a_late_image_does_not_bring_back_what_was_deleted(quiet_house: House) -> None:
    house = quiet_house
    arrive(house, "1", b"one")
    first = close(house)
    arrive(house, "2", b"late")
    forget(house, first)
    assert left(house)["arrivals"] == 1
    second = close(house)
    study = house.ledger.sources(second, site="local")
    assert study is not None
    assert [house.store.get(keys.source("local", second, image.number)) for image in study.images] == [b"late"]
    forget(house, second)
    assert left(house) == NOTHING


def test_an_image_that_comes_while_its_study_is_deleted_is_kept(quiet_house: House) -> None:
    """Whoever was told that an image is safe must find it safe, however the two transactions overlap."""
    house = quiet_house
    arrive(house, "1", b"one")
    first = close(house)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with house.ledger._connections.write(durable=False) as connection:
            known = connection.execute(select(INSTANCES)).one()._asdict()
            coming = {"instance_id": uuid.uuid4().hex, "arrival_id": uuid.uuid4().hex, "revision": None}
            connection.execute(update(EXAMINATIONS).values(state="waiting", due_at_s=house.now_s))
            connection.execute(insert(INSTANCES), known | coming)
            deleting = pool.submit(forget, house, first)
            with pytest.raises(concurrent.futures.TimeoutError):
                deleting.result(0.3)
        deleting.result(30)
    assert left(house) == {"examinations": 1, "dicom_instances": 1, "study_revisions": 0, "arrivals": 0}
