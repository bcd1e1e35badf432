"""The chain from a file to a result, run stage by stage, twice, and through every kind of trouble."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fractureai.domain import keys
from fractureai.domain.reasons import OUTAGES
from fractureai.domain.records import Claim
from fractureai.domain.scores import Box
from fractureai.domain.study import Assessment, Stage, Study, WorkState
from fractureai.errors import BrokenDeployment, TransientFailure
from fractureai.phantoms.files import chest_dicom
from fractureai.stages import attempts, classify, detect, explain, inline, reconcile, report
from fractureai.stages.lease import run_stage
from tests.bad_files import phantom_dicom
from tests.pictures import png
from tests.unit.stages.conftest import OWN_NETWORK, House

_LEVELS = ("study", "series", "sop")
STAGES = (classify.run, detect.run, explain.run, report.run)


def _run(house: House, study: Study) -> dict[str, Any]:
    assert [run(study.study_id, house) for run in STAGES] == ["done"] * 4
    return _result(house, study)


def _result(house: House, study: Study) -> dict[str, Any]:
    return dict(json.loads(house.store.get(keys.result_json("local", study.study_id))))


def test_a_picture_becomes_a_result(house: House) -> None:
    study = house.accepted(png())
    result = _run(house, study)
    assert result["assessment"] == "fracture"
    (image,) = result["images"]
    assert image["region"] == {"name": "hand", "probability": 0.95}
    assert image["in_scope"] is True
    assert image["fracture_probability"] == 0.9
    x0, y0, x1, y1 = image["roi_px"]
    assert 0 <= x0 < x1 <= 90
    assert 0 <= y0 < y1 <= 120
    assert set(result["models"]) == {"region", "fracture-hand"}
    row = house.ledger.study(study.study_id, site="local")
    assert row is not None
    assert (row.state, row.assessment, row.region) == (WorkState.DONE, Assessment.FRACTURE, "hand")
    assert house.store.get(keys.report_pdf("local", study.study_id)).startswith(b"%PDF")


def test_boxes_become_findings_on_the_grid_of_the_source(house: House) -> None:
    house.models.by_region["hand"].boxes = (Box((10.2, 20, 30, 40), 0.7), Box((-5, 100, 200, 300), 0.3))
    (image,) = _run(house, house.accepted(png()))["images"]
    assert image["findings"] == [
        {"box_px": [10, 20, 30, 40], "probability": 0.7, "rank": 1},
        {"box_px": [0, 100, 90, 120], "probability": 0.3, "rank": 2},
    ]
    assert image["roi_px"] == [10, 20, 30, 40]
    assert image["artifacts"] == ["image", "heat", "overlay", "roi"]


def test_nothing_is_marked_where_nothing_is_suspected(house: House) -> None:
    house.models.by_region["hand"].boxes = (Box((10, 20, 30, 40), 0.7),)
    house.models.by_region["hand"].probability = 0.1
    study = house.accepted(png())
    (image,) = _run(house, study)["images"]
    assert (image["findings"], image["roi_px"], image["artifacts"]) == ([], None, ["image", "heat"])
    with pytest.raises(KeyError):
        house.store.get(keys.roi_png("local", study.study_id, 1))


def test_models_of_one_network_read_an_image_once(house: House) -> None:
    _run(house, house.accepted(png()))
    assert (house.models.region_model.passes, house.models.by_region["hand"].passes) == (1, 0)
    house.models.by_region["hand"].network = OWN_NETWORK
    _run(house, house.accepted(png(seed=1)))
    assert (house.models.region_model.passes, house.models.by_region["hand"].passes) == (2, 1)


@pytest.mark.parametrize(("probability", "expected"), [(0.1, "no_fracture"), (0.3, "suspected"), (0.7, "fracture")])
def test_the_cards_thresholds_decide(house: House, probability: float, expected: str) -> None:
    house.models.by_region["hand"].probability = probability
    assert _run(house, house.accepted(png()))["assessment"] == expected


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scope_score": 0.1}, "out_of_scope"),
        ({"probability": 0.6}, "unsure_region"),
        ({"name": "elbow"}, "no_model_for_region"),
    ],
)
def test_what_is_not_assessed_is_inconclusive_and_never_normal(house: House, change: dict[str, Any], code: str) -> None:
    house.models.by_region["hand"].probability = 0.0
    for name, value in change.items():
        setattr(house.models.region_model, name, value)
    result = _run(house, house.accepted(png()))
    assert result["assessment"] == "inconclusive"
    assert [reason["code"] for reason in result["reasons"]] == [code]
    assert result["images"][0]["fracture_probability"] is None
    assert result["images"][0]["artifacts"] == ["image"]


@pytest.mark.parametrize(("probability", "expected"), [(0.05, "inconclusive"), (0.9, "fracture")])
def test_a_header_that_names_another_bone_forbids_no_fracture(house: House, probability: float, expected: str) -> None:
    house.models.by_region["hand"].probability = probability
    result = _run(house, house.accepted(phantom_dicom(region="elbow")))
    assert result["assessment"] == expected
    assert "body_part_mismatch" in [reason["code"] for reason in result["reasons"]]


@pytest.mark.parametrize(
    ("name", "code"),
    [(b"M\xfcller", "text_guessed"), (b"\xc8\xe2\xe0\xed\xee\xe2", "text_undecoded"), (b"Miller", None)],
)
def test_a_name_that_may_be_wrong_is_said_beside_the_assessment(house: House, name: bytes, code: str | None) -> None:
    house.models.by_region["hand"].probability = 0.05
    data = phantom_dicom()
    at = data.index(b"\x10\x00\x10\x00PN") + 8
    result = _run(house, house.accepted(data[:at] + name + data[at + len(name) :]))
    assert result["assessment"] == "no_fracture"
    assert [reason["code"] for reason in result["reasons"]] == ([code] if code else [])
    assert [reason["code"] for reason in result["images"][0]["reasons"]] == ([code] if code else [])


def test_a_chest_by_its_header_is_not_read_however_it_looks(house: House) -> None:
    uids = {f"{level}_uid": f"1.2.826.0.1.3680043.10.1.9.{level_number}" for level_number, level in enumerate(_LEVELS)}
    result = _run(house, house.accepted(chest_dicom(1, **uids, size_px=200)))
    assert result["assessment"] == "inconclusive"
    assert [reason["code"] for reason in result["reasons"]] == ["body_part_out_of_scope"]
    assert result["images"][0]["fracture_probability"] is None


def test_a_damaged_view_is_a_reason_and_the_other_is_read(house: House) -> None:
    house.models.by_region["hand"].probability = 0.05
    result = _run(house, house.accepted(png(), b"\x89PNG\r\n\x1a\n broken"))
    good, bad = result["images"]
    assert good["assessment"] == "no_fracture"
    assert bad["reasons"][0]["code"] == "damaged"
    assert result["assessment"] == "inconclusive"
    assert "views_not_assessed" in [reason["code"] for reason in result["reasons"]]


def test_a_study_without_a_readable_file_is_rejected_at_once(house: House) -> None:
    study = house.accepted(b"", b"hello")
    assert [run(study.study_id, house) for run in STAGES] == ["done", "not_due", "not_due", "not_due"]
    result = _result(house, study)
    assert result["state"] == "rejected"
    assert [reason["code"] for reason in result["reasons"]] == ["empty_file", "unknown_type"]


def test_every_stage_writes_the_same_bytes_when_it_runs_twice(house: House) -> None:
    study = house.accepted(png(), png(seed=1))
    prefix = keys.study_prefix("local", study.study_id)
    written: list[dict[str, bytes]] = []
    for _ in range(2):
        for stage, work in inline.WORK.items():
            work(Claim(study, stage, "me", 1), house)
        written.append({key: house.store.get(key) for key in house.store.keys(prefix)})
    assert written[0] == written[1]


def test_a_message_out_of_turn_does_nothing(house: House) -> None:
    study = house.accepted(png())
    assert detect.run(study.study_id, house) == "not_due"
    assert classify.run(study.study_id, house) == "done"
    assert classify.run(study.study_id, house) == "not_due"
    assert classify.run("0" * 32, house) == "not_due"


def _failing(error: BaseException) -> Callable[..., None]:
    def work(*_: object) -> None:
        raise error

    return work


@pytest.mark.parametrize("error", [TransientFailure("artifact_missing"), MemoryError(), KeyError("x")])
def test_three_attempts_with_growing_waits_then_failed(house: House, error: BaseException) -> None:
    study = house.accepted(png())
    answers = []
    for wait_s in (0, 15, 30):
        house.now_s += wait_s
        answers.append(run_stage(Stage.CLASSIFY, study.study_id, house, _failing(error)))
    assert answers == ["retry", "retry", "failed"]
    result = _result(house, study)
    assert result["state"] == "failed"
    assert result["assessment"] == "inconclusive"
    assert result["reasons"][0]["code"] == "attempts_exhausted"
    row = house.ledger.study(study.study_id, site="local")
    assert row is not None
    assert row.state is WorkState.FAILED
    house.now_s += 1e6
    assert reconcile.run(house) == 0


@pytest.mark.parametrize("code", sorted(OUTAGES))
def test_an_outage_of_hours_fails_nothing(house: House, code: str) -> None:
    study = house.accepted(png())
    began_s = house.now_s
    while house.now_s - began_s < 6 * 3600:
        assert run_stage(Stage.CLASSIFY, study.study_id, house, _failing(TransientFailure(code))) == "retry"
        house.now_s += 1.5 * house.policy.longest_wait_s
    assert classify.run(study.study_id, house) == "done"


def test_an_outage_of_a_day_is_given_up_with_its_reason(house: House) -> None:
    study = house.accepted(png())
    away = _failing(TransientFailure("store_unavailable"))
    assert run_stage(Stage.CLASSIFY, study.study_id, house, away) == "retry"
    house.now_s += house.policy.outage_s
    assert run_stage(Stage.CLASSIFY, study.study_id, house, away) == "failed"
    assert [reason["code"] for reason in _result(house, study)["reasons"]] == ["outage_too_long", "store_unavailable"]
    assert house.ledger.reopen(study.study_id, site="local", now_s=house.now_s)
    assert run_stage(Stage.CLASSIFY, study.study_id, house, away) == "retry"


def test_what_fails_together_does_not_come_back_together(house: House) -> None:
    due_s = set()
    for study in [house.accepted(png()) for _ in range(5)]:
        error = TransientFailure("store_unavailable")
        claim = Claim(study, Stage.CLASSIFY, "me", 1)
        step = attempts.after(error, claim, study.study_id, where="", now_s=house.now_s, policy=house.policy)
        assert isinstance(step, attempts.Again)
        assert 10 <= step.due_at_s - house.now_s <= 15
        due_s.add(step.due_at_s)
    assert len(due_s) > 1


def test_a_store_that_is_away_at_the_last_write_costs_no_attempt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    study = house.accepted(png())
    assert [run(study.study_id, house) for run in STAGES[:3]] == ["done"] * 3
    put = house.store.put

    def away(key: str, data: bytes) -> object:
        if key.endswith("result.json"):
            raise TransientFailure("store_unavailable")
        return put(key, data)

    with monkeypatch.context() as outage:
        outage.setattr(house.store, "put", away)
        for _ in range(4):
            assert report.run(study.study_id, house) == "retry"
            house.now_s += 1.5 * house.policy.longest_wait_s
    assert report.run(study.study_id, house) == "done"


def test_a_ledger_that_is_away_for_a_moment_costs_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.policy = replace(house.policy, insist_s=30)
    study = house.accepted(png())
    for name in ("claim", "advance"):
        monkeypatch.setattr(house.ledger, name, _away_twice(getattr(house.ledger, name)))
    assert classify.run(study.study_id, house) == "done"
    row = house.ledger.study(study.study_id, site="local")
    assert row is not None
    assert (row.stage, row.attempts) == (Stage.DETECT, 0)


def _away_twice(act: Callable[..., Any]) -> Callable[..., Any]:
    failures = iter([TransientFailure("ledger_unavailable")] * 2)

    def act_at_last(*args: Any, **named: Any) -> Any:
        for failure in failures:
            raise failure
        return act(*args, **named)

    return act_at_last


def test_a_lease_is_renewed_while_the_work_runs(house: House) -> None:
    house.policy = replace(house.policy, lease_s=0.15)
    study = house.accepted(png())
    renewed = threading.Event()
    renew = house.ledger.renew

    def noted(claim: Claim, *, until_s: float) -> bool:
        held = renew(claim, until_s=until_s)
        renewed.set()
        return held

    house.ledger.renew = noted  # type: ignore[method-assign]
    assert run_stage(Stage.CLASSIFY, study.study_id, house, lambda *_: None if renewed.wait(20) else 1 / 0) == "done"


def test_a_wait_is_not_cut_short(house: House) -> None:
    study = house.accepted(png())
    assert run_stage(Stage.CLASSIFY, study.study_id, house, _failing(TransientFailure("store_unavailable"))) == "retry"
    assert classify.run(study.study_id, house) == "not_due"
    house.now_s += 15
    assert classify.run(study.study_id, house) == "done"


def test_whoever_lost_the_lease_does_not_write_over_the_result(house: House) -> None:
    """One worker stands still with its report made; another one gives the study up; then the first goes on."""
    study = house.accepted(png())
    assert [run(study.study_id, house) for run in STAGES[:3]] == ["done"] * 3
    house.policy = replace(house.policy, max_attempts=1)

    def slow(claim: Claim, ports: House) -> Any:
        closed = report.work(claim, ports)
        ports.now_s += ports.policy.lease_s + 1
        assert report.run(study.study_id, ports) == "failed"
        return closed

    assert run_stage(Stage.REPORT, study.study_id, house, slow) == "lost"  # type: ignore[arg-type]
    row = house.ledger.study(study.study_id, site="local")
    assert row is not None
    assert (row.state.value, _result(house, study)["state"]) == ("failed", "failed")


def test_a_worker_that_dies_thrice_ends_the_study_not_the_next_worker(house: House) -> None:
    study = house.accepted(png())
    for _ in range(3):  # a killed worker leaves only its lease behind
        claim = house.ledger.claim(
            study.study_id, Stage.CLASSIFY, owner=house.new_id(), now_s=house.now_s, lease_s=house.policy.lease_s
        )
        assert claim is not None
        house.now_s += house.policy.lease_s + 1
    assert classify.run(study.study_id, house) == "failed"
    assert _result(house, study)["reasons"][0]["code"] == "attempts_exhausted"


def test_a_broken_installation_is_not_tried_again(house: House) -> None:
    study = house.accepted(png())
    answer = run_stage(Stage.CLASSIFY, study.study_id, house, _failing(BrokenDeployment("no model")))
    assert answer == "failed"
    assert [reason["code"] for reason in _result(house, study)["reasons"]] == ["broken_deployment"]


def test_a_lost_lease_changes_nothing(house: House) -> None:
    study = house.accepted(png())

    def slow(_claim: Claim, ports: House) -> None:
        ports.now_s += ports.policy.lease_s + 1
        assert classify.run(study.study_id, ports) == "done"

    assert run_stage(Stage.CLASSIFY, study.study_id, house, slow) == "lost"  # type: ignore[arg-type]
    row = house.ledger.study(study.study_id, site="local")
    assert row is not None
    assert row.stage is Stage.DETECT


def test_a_missing_artifact_is_tried_again(house: House) -> None:
    study = house.accepted(png())
    assert classify.run(study.study_id, house) == "done"
    house.store.delete(keys.network_reading("local", study.study_id, 1))
    assert detect.run(study.study_id, house) == "retry"


def test_inline_gives_the_same_result_as_the_chain(house: House) -> None:
    study = house.accepted(png())
    seen: list[Stage] = []
    result = inline.analyze(study, house, observe=seen.append)
    assert seen == list(Stage)
    assert result.to_json() == _run(house, study)


def test_inline_turns_an_unexpected_error_into_a_failed_result(house: House) -> None:
    study = house.study(png())
    house.models = None  # type: ignore[assignment]
    result = inline.analyze(study, house)
    assert result.state is WorkState.FAILED
    assert result.finding.reasons[0].code == "internal_error"


def test_dicom_results_join_the_sources_study(house: House) -> None:
    study = house.accepted(phantom_dicom())
    result = _run(house, study)
    listed = result["dicom_objects"]
    assert [entry["name"] for entry in listed] == ["sr", "summary", "overlay-1", "gsps-1", "pdf"]
    assert {entry["study_instance_uid"] for entry in listed} == {"1.2.826.0.1.3680043.10.1.1"}
    for entry in listed:
        data = house.store.get(keys.dicom_object("local", study.study_id, entry["name"]))
        assert data[128:132] == b"DICM"
        assert entry["sop_instance_uid"].encode() in data
    assert result["images"][0]["view"] == {
        "laterality": "L",
        "position": "AP",
        "orientation": "L\\F",
        "body_part": "HAND",
    }


def test_a_picture_has_no_dicom_results(house: House) -> None:
    result = _run(house, house.accepted(png()))
    assert result["dicom_objects"] == []
    assert result["no_dicom"]["code"] == "no_dicom_source"
    assert result["images"][0]["view"] is None


def test_dicom_results_can_be_switched_off(house: House) -> None:
    house.dicom_writer = None
    result = _run(house, house.accepted(phantom_dicom()))
    assert (result["dicom_objects"], result["no_dicom"]) == ([], None)


def test_a_failure_to_write_dicom_costs_the_report_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("an odd header")

    monkeypatch.setattr(house.dicom_writer, "write", fail)
    study = house.accepted(phantom_dicom())
    result = _run(house, study)
    assert (result["state"], result["no_dicom"]["code"]) == ("done", "dicom_failed")
    assert house.store.get(keys.report_pdf("local", study.study_id)).startswith(b"%PDF")
