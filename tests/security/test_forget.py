"""Deleting: by patient, by age, never what is held, and with a proof."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fractureai.domain import keys
from fractureai.domain.records import Agreement, Verdict
from fractureai.domain.study import Assessment, WorkState
from fractureai.settings import Settings
from tests.house import House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(Settings(data_dir=tmp_path / "data"), tmp_path / "samples") as opened:
        yield opened


@pytest.mark.parametrize("text", ["", "[" * 20_000, "[]", "3", '{"studies": 1}'])
def test_what_is_no_certificate_is_none(house: House, tmp_path: Path, text: str) -> None:
    (tmp_path / "no.json").write_text(text)
    code, said = house.run("patients", "check", str(tmp_path / "no.json"))
    assert code == 1
    assert "not a certificate of this installation" in said


def test_one_patient_is_deleted_with_proof(house: House, tmp_path: Path) -> None:
    mine = [house.study("PID 1"), house.study("PID 1", state=WorkState.FAILED)]
    other = house.study("PID 11")
    reader = Verdict(mine[0].study_id, time.time(), "Dr Who", Agreement.DISAGREE, Assessment.NO_FRACTURE, None, "Meier")
    house.ledger.add_verdict(reader, site="local")
    before = {
        key: house.ports.store.size_bytes(key)
        for key in house.ports.store.keys(f"sites/local/studies/{mine[0].study_id}/")
    }
    proof = tmp_path / "proof.json"
    code, output = house.run("patients", "delete", "--certificate", str(proof), given="PID 1\n")
    assert code == 0, output
    assert "2 studies deleted" in output
    assert house.traces(*(study.study_id for study in mine), *(study.batch_id for study in mine)) == []
    assert house.there(other)
    document = json.loads(proof.read_text())
    listed = {entry["key"]: entry["size_bytes"] for study in document["studies"] for entry in study["objects"]}
    assert before.items() <= listed.items()
    assert sum(study["ledger_rows"].get("verdicts", 0) for study in document["studies"]) == 1
    assert "PID 1" not in proof.read_text()
    assert "Meier" not in proof.read_text()
    assert house.run("patients", "check", str(proof)) == (0, "genuine\n")
    proof.write_text(proof.read_text().replace(mine[0].study_id, "0" * 32))
    assert house.run("patients", "check", str(proof))[0] == 1
    deleted = [r.to_json() for r in house.ledger.audit_records("local") if '"delete"' in r.text]
    assert {record["what"]["id"] for record in deleted} == {study.study_id for study in mine}
    assert deleted[0]["event"] == ["110105", "DICOM Study Deleted"]
    # A lost ledger that is made anew does not bring them back.
    assert house.run("rebuild")[0] == 0
    assert not any(house.there(study) for study in mine)


def test_what_is_held_or_at_work_stays_and_is_named(house: House) -> None:
    held, open_one, gone = house.study("P"), house.study("P", state=WorkState.OPEN), house.study("P")
    assert house.run("retention", "hold", "--study", held.study_id, "--reason", "court order 12/3")[0] == 0
    code, output = house.run("patients", "delete", given="P\n")
    assert code == 1
    assert f"left: {held.study_id}: held" in output
    assert f"left: {open_one.study_id}: still at work" in output
    assert (house.there(held), house.there(open_one), house.there(gone)) == (True, True, False)
    assert house.run("retention", "release", "--study", held.study_id)[0] == 0
    assert house.run("patients", "delete", given="P\n")[0] == 1
    assert not house.there(held)


def test_a_hold_on_a_patient_covers_what_comes_later(house: House) -> None:
    assert house.run("retention", "hold", "--patient", "--reason", "trial", given="P7\n")[0] == 0
    study = house.study("P7")
    code, output = house.run("patients", "delete", given="P7\n")
    assert code == 1
    assert f"left: {study.study_id}: held with its patient" in output
    assert "P7" not in house.run("retention", "holds")[1]
    with house.ledger._connections.read() as connection:
        assert "P7" not in str(connection.execute(text("SELECT * FROM holds")).all())


def test_old_studies_go_and_held_ones_stay(tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = house.study(days_ago=40), house.study(days_ago=20)
    held, waiting = house.study(days_ago=40), house.study(days_ago=40, state=WorkState.OPEN)
    house.run("retention", "hold", "--study", held.study_id, "--reason", "claim")
    assert house.run("retention", "run")[1] == ""
    monkeypatch.setenv("FRACTUREAI_RETENTION__SITE_DAYS", '{"local": 30, "north": 1}')
    assert house.run("retention", "run", "--dry-run")[1] == "local: 1 studies and 0 empty batches to delete\n"
    code, output = house.run("retention", "run")
    assert code == 0
    assert "1 studies deleted" in output
    assert [house.there(study) for study in (old, young, held, waiting)] == [False, True, True, True]
    assert house.run("retention", "run")[1] == ""


def test_old_batches_that_became_no_study_go_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = house.rejected(days_ago=40), house.rejected(days_ago=20)
    waiting, with_study = house.rejected(days_ago=40, unpacked=False), house.rejected(days_ago=40)
    house.study(batch_id=with_study, days_ago=20)
    monkeypatch.setenv("FRACTUREAI_RETENTION__DAYS", "30")
    assert house.run("retention", "run", "--dry-run")[1] == "local: 0 studies and 1 empty batches to delete\n"
    assert house.run("retention", "run")[0] == 0
    assert house.traces(old) == []
    assert all(house.traces(kept) for kept in (young, waiting, with_study))
    written = [record.to_json() for record in house.ledger.audit_records("local")]
    assert [r["what"] for r in written if r["act"] == "delete"] == [{"kind": "batch", "id": old}]


def test_a_batch_goes_with_its_last_study(house: House) -> None:
    first = house.study("P1")
    second = house.study("P2", batch_id=first.batch_id)
    house.ports.store.put(keys.batch_json("local", first.batch_id), b"{}")
    house.run("patients", "delete", given="P1\n")
    assert house.ledger.batch(first.batch_id, site="local") is not None
    house.run("patients", "delete", given="P2\n")
    assert house.traces(second.study_id, first.batch_id) == []


@pytest.mark.parametrize("steps", range(7))
def test_a_deletion_that_is_cut_off_is_finished_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    study = house.study("P1")
    left = [steps]
    delete = type(house.ports.store).delete

    def cut(store: Any, key: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        delete(store, key)

    monkeypatch.setattr(type(house.ports.store), "delete", cut)
    house.run("patients", "delete", given="P1\n")
    monkeypatch.undo()
    house.run("rebuild")
    assert house.run("patients", "delete", given="P1\n")[0] == 0
    assert house.traces(study.study_id, study.batch_id) == []


def test_nobody_else_is_deleted_by_a_slip(house: House) -> None:
    study = house.study("P1")
    assert house.run("patients", "delete", given="\n")[0] == 1
    assert house.run("patients", "delete", given="P\n") == (0, "no study of this patient\n")
    assert house.run("patients", "delete", "--site", "nroth", given="P1\n")[0] == 2
    assert house.there(study)
