import json
import math
from pathlib import Path

import numpy as np
import pytest

from fractureai.domain.canvas import Canvas, place
from fractureai.domain.card import Localisation, ModelCard, NetworkUse, OperatingPoints
from fractureai.domain.radiograph import Header, Radiograph
from fractureai.domain.scores import Box, FractureReading, NetworkReading, RegionReading
from fractureai.errors import RejectedInput
from fractureai.training import evaluate as ev
from fractureai.training.datasets.values import Sample
from fractureai.training.pointing import best_overlap, froc
from fractureai.training.readings import ImageReading, interpret, read_samples
from tests.cards import fracture_card
from tests.pictures import bone

QUICK = ev.Resampling(resamples=40)
_POINT = {"bound": 0.2, "confidence": 0.9, "observed": 0.0, "images": 1}
POINTS = OperatingPoints.model_validate(
    {
        "fracture": _POINT | {"threshold": 0.7, "rate": "false_alarms"},
        "suspected": _POINT | {"threshold": 0.3, "rate": "missed_fractures"},
    }
)


def _sample(number=0, *, region="hand", fractured=False, **changes):
    return Sample(
        image_path=Path(f"{number}.png"),
        image_id=f"{region}{number}",
        region=region,
        fractured=fractured,
        split="test",
        block=f"b{number // 4}",
        **changes,
    )


def _reading(sample, probability, *, regions=(0.9, 0.1), boxes=(), peak=None):
    return ImageReading(sample, regions, -1.0, probability, 0.01, boxes, peak, (100, 100))


def _readings(seed=0, images=120, region="hand", **changes):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(images):
        fractured = bool(rng.random() < 0.3)
        probability = float(1 / (1 + np.exp(-(rng.normal() + 2 * fractured - 1))))
        found.append(_reading(_sample(number, region=region, fractured=fractured, **changes), probability))
    return found


def test_figures_of_a_fracture_model_are_complete_and_plain_json():
    figures = ev.fracture_figures(_readings(), POINTS, QUICK)
    json.dumps(figures, allow_nan=False)
    assert figures["images"] == 120
    for name in ("auc", "average_precision", "sensitivity_suspected", "specificity_fracture", "kappa", "ece", "brier"):
        assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
    assert sum(figures["counts_fracture"].values()) == 120
    assert "study_level" not in figures
    assert "localisation" not in figures
    assert figures == ev.fracture_figures(_readings(), POINTS, QUICK)


def test_one_class_gives_null_not_nan():
    figures = ev.fracture_figures([_reading(_sample(number), 0.1) for number in range(8)], POINTS, QUICK)
    assert figures["auc"] == {"value": None, "low": None, "high": None}
    assert figures["bounds_hold"] == {"missed_fractures": True, "false_alarms": True}


def test_a_broken_bound_is_seen():
    readings = [_reading(_sample(number, fractured=number < 20), 0.1) for number in range(40)]
    assert ev.fracture_figures(readings, POINTS, QUICK)["bounds_hold"] == {
        "missed_fractures": False,
        "false_alarms": True,
    }


def test_a_study_is_judged_by_the_mean_of_its_views():
    views = [("s1", True, 0.9), ("s1", True, 0.2), ("s2", False, 0.4), ("s2", False, 0.1), ("s3", True, 0.8)]
    readings = [
        _reading(_sample(number, fractured=fractured, study=study), probability)
        for number, (study, fractured, probability) in enumerate(views)
    ]
    figures = ev.study_level(readings, POINTS)
    assert (figures["studies"], figures["auc"], figures["kappa_half"]) == (3, 1.0, 1.0)
    assert ev.study_level(readings[:0], POINTS) == {}


def test_localisation_stands_beside_its_baseline():
    marked = ((0.0, 0.0, 8.0, 8.0),)
    near, far = Box((0, 0, 8, 10), 0.8), Box((50, 50, 60, 60), 0.9)
    readings = [
        _reading(_sample(number, fractured=True, boxes=marked), 0.8, boxes=(near,) if number < 3 else (far, near),
                 peak=(1.0, 1.0) if number < 2 else None)
        for number in range(4)
    ]  # fmt: skip
    figures = ev.localisation_figures(readings, QUICK)
    assert (figures["box_centre_in_fracture"]["value"], figures["box_centre_in_fracture"]["hits"]) == (0.75, 3)
    assert figures["attention_peak_in_fracture"]["value"] == 0.5
    assert figures["image_centre_in_fracture"]["value"] == 0.0
    assert figures["box_overlap"]["value"] == pytest.approx(0.6)
    assert figures["froc"]["0.25"] == 1.0  # one false box on four images
    assert ev.group_figures(readings, POINTS)["box=under 1 % of the image"]["images"] == 4


def test_false_boxes_cost_sensitivity():
    marked = ((0.0, 0.0, 10.0, 10.0),)
    right, wrong = Box((0, 0, 10, 10), 0.5), Box((50, 50, 60, 60), 0.7)
    readings = [_reading(_sample(0, fractured=True, boxes=marked), 0.8, boxes=(wrong, right)),
                _reading(_sample(1), 0.1, boxes=(wrong,))]  # fmt: skip
    found = froc(readings, (0.25, 0.5, 1.0))
    assert found == {"0.25": 0.0, "0.5": 0.0, "1": 1.0}


def test_small_groups_have_no_auc():
    readings = _readings(tags={"view": "frontal"}) + [
        _reading(_sample(500 + number, fractured=number < 2, tags={"view": "oblique"}), 0.5) for number in range(6)
    ]
    groups = ev.group_figures(readings, POINTS)
    assert groups["view=frontal"]["auc"] > 0.7
    assert groups["view=oblique"]["auc"] is None


def test_the_worst_errors_are_named():
    readings = [_reading(_sample(number, fractured=number % 2 == 0), number / 10) for number in range(10)]
    assert ev.worst_errors(readings, of_each=2) == {
        "missed": {"hand0": 0.0, "hand2": 0.2},
        "false_alarms": {"hand9": 0.9, "hand7": 0.7},
    }


def test_the_macro_average_weighs_regions_alike():
    worthless = [
        _reading(_sample(number, region="leg", fractured=number % 9 == 0), 0.5, regions=(0.1, 0.9))
        for number in range(300)
    ]
    hands = _readings()
    own = ev.fracture_figures(hands, POINTS, QUICK)["auc"]["value"]
    figures = ev.system_figures(hands + worthless, {"hand": POINTS, "leg": POINTS}, QUICK)
    assert figures["macro_auc"]["value"] == pytest.approx((own + 0.5) / 2, abs=1e-3)
    assert figures["images"] == 420


def _region_card():
    return ModelCard.model_validate(
        {
            "name": "region",
            "version": "1",
            "task": "region",
            "classes": ["hand", "leg"],
            "network": {"name": "limbs", "sha256": "0" * 64, "logits": [0, 1]},
            "calibration": {"method": "temperature"},
            "scope": {
                "file": "scope.npz",
                "method": "",
                "threshold": -2.0,
                "min_region_probability": 0.6,
                "accepted_share": 1.0,
            },
            "files": {},
            "intended_use": "",
            "limits": [],
            "licence": "",
            "data": {"name": "", "citation": "", "licence": ""},
            "training": {},
            "metrics": {},
        }
    )


def test_the_region_classifier_is_measured_with_its_scope():
    readings = [
        _reading(_sample(0), 0.5),
        _reading(_sample(1), 0.5, regions=(0.45, 0.55)),
        _reading(_sample(2, region="leg"), 0.5, regions=(0.2, 0.8)),
        _reading(_sample(3, region="knee"), 0.5),
    ]
    figures = ev.region_figures(readings, _region_card(), QUICK)
    assert figures["images"] == 3
    assert figures["confusion"] == [[1, 1], [0, 1]]
    assert figures["recall"] == {"hand": 0.5, "leg": 1.0}
    assert figures["accuracy_of_accepted"] == 1.0
    assert figures["accepted"]["value"] == pytest.approx(2 / 3, abs=1e-3)


class _Region:
    network = "a" * 64

    def read(self, image):
        placement = place(image, Canvas(96, 64))
        attention, cells = np.zeros((3, 2, 3), np.float32), np.full((6, 4, 1), -9, np.float32)
        attention[0, 0], cells[0, 0] = 1, 2
        sides = np.full((6, 4, 4), 8, np.float32)
        return NetworkReading(self.network, placement, np.zeros((1, 3), np.float32), attention, np.ones(4, np.float32),
                              cells, sides)  # fmt: skip

    def interpret(self, reading):
        return RegionReading({"hand": 0.7, "leg": 0.3}, -0.5)


class _Fracture(_Region):
    """A model of the same network that sees something in the upper left corner of the canvas."""

    card = fracture_card().model_copy(
        update={
            "network": NetworkUse(name="limbs", sha256="0" * 64, logits=[2], cells=0),
            "localisation": Localisation(slope=1.0, intercept=0.0, threshold=0.5),
        }
    )

    def interpret(self, reading):
        return FractureReading(0.8, 0.02, reading.attention[..., 2])


class _Models:
    def region(self):
        return _Region()

    def fracture(self, region):
        return _Fracture() if region == "hand" else None


def _decode(path):
    if path.name == "9.png":
        raise RejectedInput("damaged")
    return Radiograph(bone(90, 60), 180, 120, Header("image/png"))


def test_reading_goes_the_way_of_serving_and_gives_px_of_the_file():
    samples = [_sample(0, fractured=True, boxes=((0.0, 0.0, 60.0, 60.0),)), _sample(2, region="knee"), _sample(9)]
    raw, left_out = read_samples(samples, _Models(), _decode)
    assert [item.reason for item in left_out] == ["damaged"]
    assert raw[0].of_fracture is raw[0].of_region
    hand, knee = interpret(raw, _Models())
    assert (hand.region_probabilities, hand.probability, hand.source_px) == ((0.7, 0.3), 0.8, (180, 120))
    assert hand.boxes[0].probability == pytest.approx(1 / (1 + math.exp(-2)))
    x0, y0, x1, y1 = hand.boxes[0].box_px
    # A box of 16 px at a corner of a canvas whose height shows the 180 rows of the file.
    assert (x1 - x0, y1 - y0) == (pytest.approx(30, abs=12), pytest.approx(30, abs=12))
    assert hand.attention_peak is not None
    assert math.isnan(knee.probability)
    assert knee.boxes == ()


def test_overlap():
    assert best_overlap((0, 0, 2, 2), [(1, 0, 3, 2), (5, 5, 6, 6)]) == pytest.approx(1 / 3)
    assert best_overlap((0, 0, 2, 2), []) == 0
