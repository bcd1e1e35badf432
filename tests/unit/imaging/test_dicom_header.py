from __future__ import annotations

import numpy as np
import pytest

from fractureai.imaging.dicom import instance_identity, read_dicom
from fractureai.imaging.limits import DecodeLimits

LIMITS = DecodeLimits()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.tile(np.arange(0, 200, 5, dtype=np.uint8), (40, 1))


def header(data: bytes):
    return read_dicom(data, LIMITS).header


@pytest.mark.parametrize(
    ("charset", "name", "shown"),
    [
        ("ISO_IR 100", "Müller^Jörg^^Dr.", "Müller, Dr. Jörg"),
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田, 太郎)"),
        ("ISO_IR 192", "=山田^太郎", "山田, 太郎"),
        ("ISO_IR 144", "Люкceмбypг", "Люкceмбypг"),
        ("ISO_IR 192", "Doe", "Doe"),
        ("ISO_IR 192", "^Cher", "Cher"),
    ],
)
def test_names_in_their_own_script(dicom, pixels, charset, name, shown):
    assert header(dicom(pixels, SpecificCharacterSet=charset, PatientName=name)).patient_name == shown


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_are_made_safe(dicom, pixels):
    found = header(
        dicom(
            pixels,
            SpecificCharacterSet="ISO_IR 192",
            PatientID="  17\u202e\x07 ",
            StudyDescription="Elbow " * 100,
            BodyPartExamined="ELBOW",
            ImageLaterality="L",
            Laterality="R",
        )
    )
    assert found.patient_id == "17"
    assert len(found.study_description) <= 128
    assert (found.body_part_examined, found.laterality) == ("ELBOW", "L")
    assert found.media_type == "application/dicom"
    assert found.accession_number == ""


def test_unreadable_values_are_empty(dicom, pixels):
    data = dicom(pixels, PatientAge="045Y", StudyDate="20260230")
    found = header(data.replace(b"\x10\x00\x10\x10AS", b"\x10\x00\x10\x10FD"))
    assert found.study_date == "20260230"


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"PixelSpacing": [0.14, 0.15]}, (0.14, 0.15)),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2)),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": [-1, 1]}, None),
        ({"PixelSpacing": 0.3}, None),
        ({}, None),
    ],
)
def test_spacing(dicom, pixels, attributes, spacing):
    assert read_dicom(dicom(pixels, **attributes), LIMITS).pixel_spacing_mm == spacing


def test_group_needs_no_pixels(dicom):
    found = instance_identity(dicom(None, StudyInstanceUID="1.2.826.0.1"), LIMITS)
    assert found is not None
    assert found.study_instance_uid == "1.2.826.0.1"
    silent = instance_identity(dicom(None, StudyInstanceUID=None), LIMITS)
    assert silent is not None
    assert silent.study_instance_uid == ""
    assert instance_identity(dicom(None)[:140], LIMITS) is None
