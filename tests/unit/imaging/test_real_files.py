"""Real files: those that come with pydicom, and the shared ones where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from fractureai.domain.radiograph import Radiograph
from fractureai.errors import RejectedInput
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.reader import read_identity, read_radiograph

LIMITS = DecodeLimits()
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


def outcome(path: Path) -> str:
    try:
        read_radiograph(path, LIMITS)
    except RejectedInput as error:
        return error.code
    return "ok"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CT_small.dcm", "not_a_radiograph"),
        ("MR_small_RLE.dcm", "not_a_radiograph"),
        ("MR_truncated.dcm", "not_a_radiograph"),
        ("JPEG-lossy.dcm", "not_a_radiograph"),
        ("rtdose.dcm", "not_a_radiograph"),
        ("liver_1frame.dcm", "not_a_radiograph"),
        ("examples_palette.dcm", "not_a_radiograph"),
        ("rtplan.dcm", "no_pixels"),
        ("reportsi.dcm", "no_pixels"),
        ("waveform_ecg.dcm", "no_pixels"),
        ("ExplVR_BigEndNoMeta.dcm", "no_pixels"),
        ("meta_missing_tsyntax.dcm", "no_pixels"),
        ("JPEGLSNearLossless_16.dcm", "too_small"),
        ("SC_rgb_rle_16bit_2frame.dcm", "multi_frame"),
        ("SC_rgb_rle_32bit.dcm", "unsupported_encoding"),
        ("SC_rgb_gdcm_KY.dcm", "colour_image"),
        ("SC_ybr_full_422_uncompressed.dcm", "colour_image"),
        ("image_dfl.dcm", "ok"),
        ("README.txt", "unknown_type"),
        ("zipMR.gz", "unknown_type"),
    ],
)
def test_bundled_files(name, expected):
    assert outcome(BUNDLED / name) == expected


def test_every_bundled_file_has_an_outcome():
    """Also those that pydicom keeps because they once broke something."""
    for path in sorted(BUNDLED.iterdir()):
        if path.is_file():
            outcome(path)
            read_identity(path, LIMITS)


def middle_against_edge(image: Radiograph, rows: slice, bone: slice, air: slice) -> float:
    return float(np.median(image.pixels[rows, bone])) - float(np.median(image.pixels[rows, air]))


def is_leg(image: Radiograph) -> None:
    assert image.pixels.shape == (1024, 1024)
    assert (image.source_height_px, image.source_width_px) == (1760, 1760)
    assert image.pixel_spacing_mm is None
    assert image.header.modality == "CR"
    # The tibia's cortex beside the air between leg and collimator.
    assert middle_against_edge(image, slice(300, 400), slice(515, 530), slice(300, 340)) > 150


def is_chest(image: Radiograph) -> None:
    assert image.pixels.shape == (1024, 964)
    assert image.pixel_spacing_mm is None
    assert image.header.body_part_examined == "CHEST"
    assert middle_against_edge(image, slice(500, 600), slice(460, 500), slice(700, 740)) > 20


def is_spine(image: Radiograph) -> None:
    assert image.pixels.shape == (128, 128)
    assert image.header.transfer_syntax_uid == "1.2.840.10008.1.2.4.80"
    # Lamina of the vertebra, lung, and muscle between the two.
    bone, lung, muscle = (
        float(np.median(image.pixels[patch]))
        for patch in (np.s_[58:63, 71:79], np.s_[5:20, :10], np.s_[100:110, 20:60])
    )
    assert bone > muscle + 60 > lung + 100


def is_test_pattern(image: Radiograph) -> None:
    """The SMPTE pattern: 0 % to 100 % patches, which both tables of the files must straighten."""
    patches = [image.pixels[row, column] / 255 for row, column in ((350, 130), (300, 130), (250, 130), (200, 130))]
    np.testing.assert_allclose(patches, [0.0, 0.1, 0.2, 0.3], atol=0.06)
    assert image.pixels[345, 400] > 245


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("RG3_J2KR.dcm", is_leg),
        ("RG3_J2KI.dcm", is_leg),
        ("RG1_J2KI.dcm", is_chest),
        ("JLSL_16_15_1_1F.dcm", is_spine),
        ("mlut_18.dcm", is_test_pattern),
        ("vlut_04.dcm", is_test_pattern),
    ],
)
def test_shared_files_decode_right(shared_data: Path, name: str, check: Callable[[Radiograph], None]):
    check(read_radiograph(shared_data / "dicom" / name, LIMITS))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("693_J2KR.dcm", "not_a_radiograph"),
        ("MR2_J2KR.dcm", "not_a_radiograph"),
        ("bad_sequence.dcm", "not_a_radiograph"),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", "not_a_radiograph"),
        ("gdcm-US-ALOKA-16_big.dcm", "not_a_radiograph"),
        ("OBXXXX1A_rle.dcm", "not_a_radiograph"),
        ("OBXXXX1A_2frame.dcm", "not_a_radiograph"),
        ("SC_rgb.dcm", "colour_image"),
        ("liver_deflate.dcm", "not_a_radiograph"),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", "not_a_radiograph"),
    ],
)
def test_shared_files_are_refused(shared_data: Path, name: str, expected: str):
    assert outcome(shared_data / "dicom" / name) == expected


def test_lossy_and_lossless_leg_agree(shared_data: Path):
    lossless, lossy = (read_radiograph(shared_data / "dicom" / f"RG3_J2K{kind}.dcm", LIMITS).pixels for kind in "RI")
    assert np.abs(lossless.astype(int) - lossy).mean() < 2


def test_fracatlas_pictures_go_through_unchanged(shared_data: Path):
    """All but the few whose anatomy uses little more than half of the scale."""
    paths = sorted((shared_data / "fracatlas" / "images").rglob("*.jpg"))[::200]
    assert paths
    changed = 0
    for path in paths:
        with Image.open(path) as picture:
            expected = np.asarray(picture.convert("L")).astype(int)
        image = read_radiograph(path, LIMITS)
        if max(expected.shape) <= LIMITS.long_side_px:
            changed += np.abs(image.pixels - expected).max() > 1
        else:
            assert max(image.pixels.shape) == LIMITS.long_side_px
    assert changed <= len(paths) // 8
