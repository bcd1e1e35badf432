"""What a DICOM file is, and what its header says of the view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fractureai.errors import RejectedInput
from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits

LIMITS = DecodeLimits()
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PIXELS = np.tile(np.arange(0, 200, 5, dtype=np.uint8), (40, 1))
Dicom = Callable[..., bytes]


def coded(value: str, scheme: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "something"
    return Sequence([item])


@pytest.mark.parametrize(
    ("sop_class", "modality", "what"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "CT", "CT Image Storage, modality CT"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR", "MR Image Storage, modality MR"),
        ("1.2.840.10008.5.1.4.1.1.6.1", "US", "Ultrasound Image Storage, modality US"),
        ("1.2.840.10008.5.1.4.1.1.3.1", "US", "Ultrasound Multi-frame Image Storage, modality US"),
        ("1.2.840.10008.5.1.4.1.1.20", "NM", "Nuclear Medicine Image Storage, modality NM"),
        ("1.2.840.10008.5.1.4.1.1.128", "PT", "Positron Emission Tomography Image Storage, modality PT"),
        ("1.2.840.10008.5.1.4.1.1.12.1", "XA", "X-Ray Angiographic Image Storage, modality XA"),
        (
            "1.2.840.10008.5.1.4.1.1.1.2",
            "MG",
            "Digital Mammography X-Ray Image Storage - For Presentation, modality MG",
        ),
        ("1.2.840.10008.5.1.4.1.1.77.1.4.1", "XC", "Video Photographic Image Storage, modality XC"),
        (SECONDARY_CAPTURE, "CT", "Secondary Capture Image Storage, modality CT"),
    ],
)
def test_other_images_are_refused_by_what_they_are(dicom: Dicom, sop_class: str, modality: str, what: str) -> None:
    with pytest.raises(RejectedInput) as refused:
        read_dicom(dicom(PIXELS, SOPClassUID=sop_class, Modality=modality), LIMITS)
    assert (refused.value.code, refused.value.detail) == ("not_a_radiograph", what)


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "RF", "DR", "XR"])
def test_what_makers_call_radiography(dicom: Dicom, modality: str) -> None:
    assert read_dicom(dicom(PIXELS, Modality=modality), LIMITS).header.modality == modality


def test_the_index_of_a_medium_is_no_image(dicom: Dicom) -> None:
    data = dicom(None, SOPClassUID="1.2.840.10008.1.3.10", DirectoryRecordSequence=Sequence([]), Modality=None)
    with pytest.raises(RejectedInput) as refused:
        read_dicom(data, LIMITS)
    assert refused.value.code == "dicom_directory"


def test_our_own_pictures_do_not_come_round_again(dicom: Dicom) -> None:
    own = {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "OT", "SecondaryCaptureDeviceManufacturer": "FractureAI"}
    with pytest.raises(RejectedInput) as refused:
        read_dicom(dicom(PIXELS, **own), LIMITS)
    assert refused.value.code == "own_result"
    assert read_dicom(dicom(PIXELS, **own | {"SecondaryCaptureDeviceManufacturer": "Scanner"}), LIMITS).pixels.any()


@pytest.mark.parametrize(
    ("attributes", "part"),
    [
        ({"BodyPartExamined": "HAND"}, "HAND"),
        ({"BodyPartExamined": "WRIST", "AnatomicRegionSequence": coded("85562004", "SCT")}, "WRIST"),
        ({"AnatomicRegionSequence": coded("85562004", "SCT")}, "HAND"),
        ({"AnatomicRegionSequence": coded("T-D8700", "SRT")}, "HAND"),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": coded("T-D3000", "SNM3")}, "CHEST"),
        ({"AnatomicRegionSequence": coded("1234", "99XYZ")}, ""),
        ({"AnatomicRegionSequence": Sequence([Dataset()])}, ""),
        ({"AnatomicRegionSequence": Sequence([])}, ""),
        ({}, ""),
    ],
)
def test_the_part_of_the_body(dicom: Dicom, attributes: dict[str, object], part: str) -> None:
    assert read_dicom(dicom(PIXELS, **attributes), LIMITS).header.body_part_examined == part


@pytest.mark.parametrize(
    ("attributes", "orientation"),
    [
        ({"PatientOrientation": ["L", "F"]}, "L\\F"),
        ({"PatientOrientation": ["PR", "HF"]}, "PR\\HF"),
        ({"PatientOrientation": ["l", "f"]}, "L\\F"),
        ({"PatientOrientation": "L"}, ""),
        ({"PatientOrientation": ["UP", "DOWN"]}, ""),
        ({"PatientOrientation": ["", "F"]}, ""),
        ({}, ""),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_orientation_is_kept(dicom: Dicom, attributes: dict[str, object], orientation: str) -> None:
    assert read_dicom(dicom(PIXELS, **attributes), LIMITS).header.patient_orientation == orientation


def test_side_and_projection_are_kept(dicom: Dicom) -> None:
    header = read_dicom(dicom(PIXELS, Laterality="R", ViewPosition="LL"), LIMITS).header
    assert (header.laterality, header.view_position) == ("R", "LL")


@pytest.mark.parametrize("missing", [("BitsAllocated",), ("BitsStored",), ("HighBit",), ("SamplesPerPixel",),
                                     ("PixelRepresentation",), ("PhotometricInterpretation",),
                                     ("BitsAllocated", "BitsStored", "HighBit")])  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_missing_tags(dataset: Callable[..., Dataset], written: Callable[[Dataset], bytes], missing: tuple[str, ...],
                      dtype: str) -> None:  # fmt: skip
    image = dataset(PIXELS.astype(dtype), WindowCenter=100, WindowWidth=200)
    whole = read_dicom(written(image), LIMITS).pixels
    for keyword in missing:
        delattr(image, keyword)
    np.testing.assert_array_equal(read_dicom(written(image), LIMITS).pixels, whole)
