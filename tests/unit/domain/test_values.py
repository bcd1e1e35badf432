"""Values are valid from birth, and what is written as JSON is read back the same."""

from __future__ import annotations

import json

import pytest

from fractureai.domain import keys
from fractureai.domain.assessment import Finding
from fractureai.domain.calibration import sigmoid, softmax
from fractureai.domain.card import ModelCard, parse_card
from fractureai.domain.radiograph import Header
from fractureai.domain.reasons import REASONS, Reason
from fractureai.domain.result import ImageResult, StudyResult
from fractureai.domain.scores import ModelIdentity
from fractureai.domain.study import Assessment, SourceImage, Stage, Study, WorkState
from fractureai.errors import BrokenDeployment
from tests.cards import fracture_card, region_card

_ID = "0123456789abcdef" * 2


def _image(number: int = 1) -> SourceImage:
    return SourceImage(number, "view.dcm", 10, "a" * 64)


def test_every_reason_is_a_sentence_for_people() -> None:
    for code, sentence in REASONS.items():
        assert sentence[0].isupper(), code
        assert sentence.endswith("."), code
        assert len(sentence) <= 140, code


def test_a_reason_must_be_in_the_table() -> None:
    with pytest.raises(ValueError, match="unknown reason"):
        Reason("something_else")


def test_reasons_survive_json() -> None:
    reason = Reason("damaged", "CT")
    assert Reason.from_json(json.loads(json.dumps(reason.to_json()))) == reason


def test_stages_follow_each_other() -> None:
    assert Stage.CLASSIFY.following is Stage.DETECT
    assert Stage.REPORT.following is None
    assert Stage.EXPLAIN.remaining == (Stage.EXPLAIN, Stage.REPORT)


@pytest.mark.parametrize("bad", ["", "x" * 32, _ID.upper(), f"{_ID}0", "../../../../etc/passwd"])
def test_a_key_takes_only_ids(bad: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        keys.study_json("local", bad)


@pytest.mark.parametrize("bad", ["", "Upper", "a/b", "..", "-a", "a" * 64])
def test_a_key_takes_only_site_names(bad: str) -> None:
    with pytest.raises(ValueError, match="not a site"):
        keys.study_json(bad, _ID)


def test_no_key_is_the_prefix_of_another() -> None:
    all_keys = [
        keys.study_json("local", _ID),
        keys.classification_json("local", _ID),
        keys.detection_json("local", _ID),
        keys.explanation_json("local", _ID),
        keys.report_pdf("local", _ID),
        keys.result_json("local", _ID),
        keys.batch_json("local", _ID),
    ]
    numbered = [keys.source, keys.image_png, keys.network_reading, keys.heat_png, keys.overlay_jpg, keys.roi_png]
    all_keys += [key("local", _ID, number) for key in numbered for number in (1, 11)]
    all_keys += [keys.batch_upload("local", _ID, 1), keys.batch_member("local", _ID, 1, 1)]
    assert len(set(all_keys)) == len(all_keys)
    assert not [(a, b) for a in all_keys for b in all_keys if a != b and b.startswith(f"{a}/")]


def test_a_study_has_images_numbered_from_one() -> None:
    with pytest.raises(ValueError, match="numbered"):
        Study("local", _ID, _ID, "", 0.0, (_image(2),))
    with pytest.raises(ValueError, match="numbered"):
        Study("local", _ID, _ID, "", 0.0, ())


def test_a_result_survives_json() -> None:
    model = ModelIdentity("fracture-hand", "1.0.0", "f" * 64)
    read = ImageResult(
        number=1,
        file="a.dcm",
        finding=Finding(Assessment.SUSPECTED, (Reason("near_threshold"),)),
        in_scope=True,
        region="hand",
        region_probability=0.9,
        fracture_probability=0.5,
        fracture_spread=0.01,
        thresholds=(0.2, 0.6),
        roi_px=(1, 2, 3, 4),
        source_height_px=20,
        source_width_px=10,
        model=model,
        artifacts=("image", "heat", "overlay", "roi"),
    )
    unread = ImageResult(2, "b.dcm", Finding(Assessment.INCONCLUSIVE, (Reason("damaged"),)))
    result = StudyResult(_ID, "label", WorkState.DONE, unread.finding, (read, unread), (model,), "0.1.0")
    assert StudyResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert result.region == "hand"
    assert result.mean_fracture_probability == result.max_fracture_probability == 0.5


def test_a_header_survives_json_and_a_later_version_of_it() -> None:
    header = Header("application/dicom", patient_name="A")
    assert Header.from_json(header.to_json() | {"new_in_a_later_version": "x"}) == header


def test_a_card_is_named_by_the_hash_of_its_bytes() -> None:
    text = fracture_card().model_dump_json().encode()
    card, digest = parse_card(text, ModelCard)
    assert card == fracture_card()
    assert parse_card(text + b" ", ModelCard)[1] != digest


@pytest.mark.parametrize(
    ("card", "change", "message"),
    [
        (fracture_card(), {"operating_points": None}, "operating points"),
        (fracture_card(), {"unknown_key": 1}, "unknown_key"),
        (region_card(), {"scope": None}, "scope"),
        (region_card(), {"classes": ["hand"]}, "two classes"),
        (fracture_card(), {"version": 3}, "version"),
    ],
)
def test_a_wrong_card_names_its_fault(card: ModelCard, change: dict[str, object], message: str) -> None:
    data = json.loads(card.model_dump_json()) | change
    with pytest.raises(BrokenDeployment, match=message):
        parse_card(json.dumps(data).encode(), ModelCard)


def test_a_card_of_brackets_without_end_is_no_card() -> None:
    with pytest.raises(BrokenDeployment, match="not valid"):
        parse_card(b"[" * 100_000, ModelCard)


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="above"):
        fracture_card(suspected=0.7, fracture=0.6)


def test_calibration_keeps_the_order_and_does_not_overflow() -> None:
    values = [sigmoid(value) for value in (-1e6, -1, 0, 1, 1e6)]
    assert values == sorted(values)
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert softmax([[1e5, 0.0]])[0] == pytest.approx([1, 0])
    assert softmax([2.0, 1.0], temperature=1e9) == pytest.approx([0.5, 0.5])


def test_a_view_out_of_scope_does_not_name_the_study_s_region() -> None:
    guessed = ImageResult(1, "a", Finding(Assessment.INCONCLUSIVE), region="shoulder", region_probability=0.4)
    read = ImageResult(2, "b", Finding(Assessment.NO_FRACTURE), in_scope=True, region="hand", region_probability=0.9)
    result = StudyResult(_ID, "", WorkState.DONE, guessed.finding, (guessed, read), (), "0")
    assert result.region == "hand"
