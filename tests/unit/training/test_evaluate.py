import json
import math
from pathlib import Path

import numpy as np
import pytest

from fractureai.domain.card import ModelCard, OperatingPoints
from fractureai.domain.radiograph import Header, Radiograph
from fractureai.domain.scores import FractureReading, RegionReading
from fractureai.errors import RejectedInput
from fractureai.training import evaluate as ev
from fractureai.training.datasets.values import Sample
from fractureai.training.readings import ImageReading, Localisation, best_overlap, read_samples

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


def _reading(sample, probability, *, regions=(0.9, 0.1), localisation=None):
    return ImageReading(sample, regions, -1.0, probability, 0.01, localisation)


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
    hit, miss = Localisation(True, False, 0.5, 0.1, 0.005), Localisation(False, False, 0.1, 0.1, 0.02)
    readings = [
        _reading(_sample(number, fractured=True, boxes=((0, 0, 5, 5),)), 0.8, localisation=hit if number < 3 else miss)
        for number in range(4)
    ]
    figures = ev.localisation_figures(readings, QUICK)
    assert figures["peak_in_box"]["value"] == 0.75
    assert figures["centre_in_box"]["value"] == 0.0
    assert figures["roi_overlap"]["value"] == 0.4
    assert ev.group_figures(readings, POINTS)["box=under 1 % of the image"]["images"] == 3


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
    figures = ev.system_figures(hands + worthless, QUICK)
    assert figures["macro_auc"]["value"] == pytest.approx((own + 0.5) / 2, abs=1e-3)
    assert figures["images"] == 420


def _region_card():
    return ModelCard.model_validate(
        {
            "name": "region",
            "version": "1",
            "task": "region",
            "classes": ["hand", "leg"],
            "input": {"size_px": 64},
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
    def read(self, images):
        return [RegionReading({"hand": 0.7, "leg": 0.3}, -0.5) for _ in images]


class _Fracture:
    """A model that sees something in the upper left eighth of the canvas."""

    def read(self, images):
        attention = np.zeros((8, 8), np.float32)
        attention[1, 1] = 1
        return [FractureReading(0.8, attention, 0.02) for _ in images]


class _Models:
    def region(self):
        return _Region()

    def fracture(self, region):
        return _Fracture() if region == "hand" else None


def _decode(path):
    if path.name == "9.png":
        raise RejectedInput("damaged")
    return Radiograph(np.zeros((80, 80), np.uint8), 160, 160, Header("image/png"))


def test_reading_goes_the_way_of_serving_and_scales_boxes_to_the_pixels_seen():
    around, elsewhere = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 150.0, 150.0)
    samples = [
        _sample(0, fractured=True, boxes=(around,)),
        _sample(1, fractured=True, boxes=(elsewhere, (70.0, 70.0, 90.0, 90.0))),
        _sample(2, region="knee"),
        _sample(9),
    ]
    readings, left_out = read_samples(samples, _Models(), _decode)
    assert [item.reason for item in left_out] == ["damaged"]
    assert [reading.localisation and reading.localisation.peak_hit for reading in readings] == [True, False, None]
    assert readings[0].localisation.overlap > 0.2
    assert readings[1].localisation.centre_hit
    assert math.isnan(readings[2].probability)
    assert readings[0].region_probabilities == (0.7, 0.3)


def test_overlap():
    assert best_overlap((0, 0, 2, 2), [(1, 0, 3, 2), (5, 5, 6, 6)]) == pytest.approx(1 / 3)
    assert best_overlap((0, 0, 2, 2), []) == 0
