from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

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


def encoded(dicom, pixels, charset: bytes, name: bytes, **attributes) -> bytes:
    """A file with a character set and a name as bytes, whatever they are."""
    data = dicom(pixels, SpecificCharacterSet="X" * len(charset), PatientName="Y" * len(name), **attributes)
    return data.replace(b"X" * len(charset), charset).replace(b"Y" * len(name), name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("charset", "name", "shown", "note"),
    [
        (
            b"\\ISO 2022 IR 58 ",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab= ",
            "Zhang, XiaoDong (张, 小东)",
            "",
        ),
        (b"ISO_IR 149", "배^동환".encode("cp949") + b" ", "배, 동환", ""),
        (b"ISO_IR 6", "Müller".encode() + b" ", "Müller", ""),
        (b"ISO_IR 192", b"M\xfcller", "Müller", "text_guessed"),
        (b"ISO_IR 6", "Иванов".encode("cp1251"), "\ufffd", "text_undecoded"),
    ],
)
def test_a_name_is_right_or_says_that_it_may_not_be(dicom, pixels, charset, name, shown, note):
    found = header(encoded(dicom, pixels, charset, name))
    assert (found.patient_name, found.text_note) == (shown, note)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("charset", "name", "declared", "kept"),
    [
        (b"ISO_IR 6", "Müller".encode() + b" ", "ISO_IR 192", "Müller".encode() + b" "),
        (b"ISO-IR 100", b"M\xfcller", "ISO_IR 192", "Müller ".encode()),
        (b"ISO_IR 149", "배^동환".encode("cp949") + b" ", "ISO_IR 192", "배^동환".encode() + b" "),
        (b"ISO_IR 100", b"M\xfcller", "ISO_IR 100", b"M\xfcller"),
        (b"ISO_IR 192", b"M\xfcller", "ISO_IR 192", b"M\xfcller"),
        (b"\\ISO 2022 IR 58 ", b"=\x1b$)A\xd5\xc5", "\\ISO 2022 IR 58", b"=\x1b$)A\xd5\xc5"),
    ],
)
def test_results_declare_the_character_set_that_their_text_is_in(dicom, pixels, charset, name, declared, kept):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "L", "W" * len(name)
    data = encoded(dicom, pixels, charset, name, ProcedureCodeSequence=[code])
    data = data.replace(b"W" * len(name), name)
    context = read_dicom(data, LIMITS).dicom_context
    found = read_dataset(io.BytesIO(context), False, True)
    assert found.get_item(0x00100010).value.strip() == kept.strip()
    raw = found.get_item(0x00080005).value
    assert raw.decode().strip() == declared
    assert context.count(kept.strip()) == 2, "the meaning of the code as well"


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
