"""Images that come in one by one become one study when it is quiet, and late ones a revision of it."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path

import pytest

from fractureai.domain import keys
from fractureai.domain.study import WorkState
from fractureai.errors import TransientFailure
from fractureai.stages import examinations
from fractureai.storage.ledger.sql import SqlLedger
from tests.unit.stages.arriving import QUIET, arrive, unpack
from tests.unit.stages.conftest import House


@pytest.fixture
def quiet_house(house: House) -> House:
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


def test_another_process_sees_it_all(quiet_house: House, tmp_path: Path) -> None:
    """Nothing of it is in anybody's memory."""
    house = quiet_house
    arrive(house, "1")
    house.now_s += 10
    house.ledger.close()
    house.ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    assert examinations.run(house) == 1
    (study_id,) = unpack(house)
    row = house.ledger.study(study_id, site="local")
    assert row is not None
    assert row.state is WorkState.OPEN
