from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits

LIMITS = DecodeLimits()
HEIGHT, WIDTH = 60, 40
RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 11,
    "ShutterRightVerticalEdge": 30,
    "ShutterUpperHorizontalEdge": 6,
    "ShutterLowerHorizontalEdge": 55,
}
CIRCLE = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [30, 20], "RadiusOfCircularShutter": 15}
# A triangle over the lower left half, corners as row and column.
POLYGON = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 60, 1, 60, 40]}
Dicom = Callable[..., bytes]


def shown(dicom: Dicom, **attributes: Any) -> np.ndarray:
    """Which pixels of a picture that is nowhere black, nor white, are not shown black."""
    pixels = (20 + np.add.outer(np.arange(HEIGHT) * 2, np.arange(WIDTH) * 2.5)).astype(np.uint8)
    return read_dicom(dicom(pixels, **attributes), LIMITS).pixels > 0


def test_a_rectangle_with_both_its_edges(dicom: Dicom) -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:55, 10:30] = True
    np.testing.assert_array_equal(shown(dicom, **RECTANGLE), expected)


def test_a_circle_by_row_and_column(dicom: Dicom) -> None:
    area = shown(dicom, **CIRCLE)
    assert area[29, [4, 3, 34, 35]].tolist() == [True, False, True, False]
    assert area[[14, 13, 44, 45], 19].tolist() == [True, False, True, False]
    assert not area[15, 5]


def test_a_polygon_by_rows_and_columns(dicom: Dicom) -> None:
    area = shown(dicom, **POLYGON)
    assert area[58, 1]
    assert area[30, 5]
    assert not area[5, 30]


def test_shapes_are_combined(dicom: Dicom) -> None:
    both = CIRCLE | RECTANGLE | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"]}
    np.testing.assert_array_equal(shown(dicom, **both), shown(dicom, **RECTANGLE) & shown(dicom, **CIRCLE))


def test_a_collimator_is_one_too(dicom: Dicom) -> None:
    collimator = {name.replace("Shutter", "Collimator"): value for name, value in RECTANGLE.items()}
    np.testing.assert_array_equal(shown(dicom, **collimator), shown(dicom, **RECTANGLE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ShutterShape": "RECTANGULAR"},
        {"ShutterShape": "HEXAGONAL"},
        {"ShutterShape": "BITMAP"},
        RECTANGLE | {"ShutterRightVerticalEdge": 5},
        RECTANGLE | {"ShutterLeftVerticalEdge": 29},  # leaves two columns
        CIRCLE | {"RadiusOfCircularShutter": 0},
        CIRCLE | {"CenterOfCircularShutter": [5000, 5000]},
        CIRCLE | {"CenterOfCircularShutter": 30},
        POLYGON | {"VerticesOfThePolygonalShutter": [1, 1, 60, 1]},
        POLYGON | {"VerticesOfThePolygonalShutter": [1, 1, 60, 1, 60]},
        POLYGON | {"VerticesOfThePolygonalShutter": [1, 1, 2000000000, 1, 60, -2000000000]},
        RECTANGLE | {"ShutterLeftVerticalEdge": -50, "ShutterRightVerticalEdge": 4000,
                     "ShutterUpperHorizontalEdge": 0, "ShutterLowerHorizontalEdge": 9999},
    ],
)  # fmt: skip
def test_a_wrong_or_harmless_shutter_hides_nothing(dicom: Dicom, wrong: dict[str, Any]) -> None:
    assert shown(dicom, **wrong).all()


def test_what_lies_outside_does_not_shift_the_levels(dicom: Dicom) -> None:
    """The unexposed border is the brightest of the file; the used range must not see it."""
    pixels = np.full((HEIGHT, WIDTH), 2600, np.uint16)
    pixels[5:55, 10:30] = np.linspace(1000, 2000, 1000).reshape(50, 20).astype(np.uint16)
    inside = read_dicom(dicom(pixels, BitsStored=12, **RECTANGLE), LIMITS).pixels[5:55, 10:30]
    assert int(inside.min()) == pytest.approx(20, abs=6)
    assert int(inside.max()) == pytest.approx(224, abs=6)


def test_the_border_of_an_inverted_image_is_black(dicom: Dicom) -> None:
    area = shown(dicom, PhotometricInterpretation="MONOCHROME1", **RECTANGLE)
    assert not area[:5].any()
    assert area[5:55, 10:30].all()
