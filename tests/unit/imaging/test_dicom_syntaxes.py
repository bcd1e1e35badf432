"""Every transfer syntax: pydicom's own files and what dcmtk encodes, against pydicom's plain decoding."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from fractureai.errors import RejectedInput
from fractureai.imaging.dicom import read_dicom
from fractureai.imaging.limits import DecodeLimits
from tests.unit.imaging import htj2k

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
ANY_SIZE = DecodeLimits(min_side_px=1)


def as_radiograph(name: str) -> tuple[Dataset, bytes]:
    """A file of another kind, called a radiograph so that its pixels are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(BUNDLED / name)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
        dataset.Modality = "DX"
        stream = io.BytesIO()
        dataset.save_as(stream)
    return dataset, stream.getvalue()


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("CT_small.dcm", uid.ExplicitVRLittleEndian),
        ("MR_small_implicit.dcm", uid.ImplicitVRLittleEndian),
        ("MR_small_expb.dcm", uid.ExplicitVRBigEndian),
        ("MR_small_bigendian.dcm", uid.ExplicitVRBigEndian),
        ("MR_small_RLE.dcm", uid.RLELossless),
        ("MR_small_padded.dcm", uid.ExplicitVRLittleEndian),
        ("MR_small_jp2klossless.dcm", uid.JPEG2000Lossless),
        ("J2K_pixelrep_mismatch.dcm", uid.JPEG2000Lossless),
        ("JPEG2000.dcm", uid.JPEG2000),
        ("693_J2KI.dcm", uid.JPEG2000),
        ("image_dfl.dcm", uid.DeflatedExplicitVRLittleEndian),
    ],
)
def test_grey_levels_follow_pydicoms_pixels(name: str, syntax: str) -> None:
    """Every stored value becomes one level, and a higher value no lower one."""
    dataset, data = as_radiograph(name)
    image = read_dicom(data, ANY_SIZE)
    assert image.header.transfer_syntax_uid == syntax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = dataset.pixel_array
    assert image.pixels.shape == values.shape
    order = np.argsort(values, axis=None, kind="stable")
    steps = np.diff(image.pixels.ravel()[order].astype(int))
    same = np.diff(values.ravel()[order].astype(int)) == 0
    assert (steps >= 0).all()
    assert not steps[same].any()


@pytest.mark.parametrize(
    ("name", "twin"),
    [("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"), ("JPEG-lossy.dcm", "JPGExtended.dcm")],
)
def test_what_pydicom_cannot_decode_is_as_its_twin(name: str, twin: str) -> None:
    pixels = [read_dicom(as_radiograph(each)[1], ANY_SIZE).pixels.astype(int) for each in (name, twin)]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "badVR.dcm"])
def test_what_pydicom_cannot_decode_is_damaged(name: str) -> None:
    with pytest.raises(RejectedInput) as refused:
        read_dicom(as_radiograph(name)[1], ANY_SIZE)
    assert refused.value.code == "damaged"


def test_a_codestream_that_says_more_than_the_header_is_not_decoded() -> None:
    """The delimiter in this file stands in the width that the codestream gives itself: 3,722,445,056."""
    with pytest.raises(RejectedInput) as refused:
        read_dicom(as_radiograph("JPEG2000-embedded-sequence-delimiter.dcm")[1], ANY_SIZE)
    assert refused.value.code == "too_many_pixels"


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm", "SC_rgb_jls_lossy_line.dcm",
     "SC_rgb_gdcm_KY.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm"],
)  # fmt: skip
def test_colour_is_refused_however_it_is_stored(name: str) -> None:
    with pytest.raises(RejectedInput) as refused:
        read_dicom(as_radiograph(name)[1], ANY_SIZE)
    assert refused.value.code == "colour_image"


@pytest.mark.parametrize(
    ("encoder", "option", "syntax", "bits", "tolerance"),
    [
        ("dcmcjpeg", "+eb", uid.JPEGBaseline8Bit, 8, 6),
        ("dcmcjpeg", "+ee", uid.JPEGExtended12Bit, 12, 6),
        ("dcmcjpeg", "+el", uid.JPEGLossless, 12, 0),
        ("dcmcjpeg", "+e1", uid.JPEGLosslessSV1, 8, 0),
        ("dcmcjpeg", "+e1", uid.JPEGLosslessSV1, 12, 0),
        ("dcmcjpeg", "+e1", uid.JPEGLosslessSV1, 16, 0),
        ("dcmcjpls", "+el", uid.JPEGLSLossless, 12, 0),
        ("dcmcjpls", "+en", uid.JPEGLSNearLossless, 12, 2),
        ("dcmcrle", "", uid.RLELossless, 12, 0),
    ],
)
def test_what_dcmtk_encodes(
    dicom: Callable[..., bytes], tmp_path: Path, encoder: str, option: str, syntax: str, bits: int, tolerance: int
) -> None:
    if shutil.which(encoder) is None:
        pytest.skip(f"{encoder} is not installed (Debian: dcmtk)")
    ramp = np.tile(np.linspace(0, (1 << bits) - 1, 64).astype("uint8" if bits == 8 else "uint16"), (64, 1))
    window = {"WindowCenter": 1 << (bits - 1), "WindowWidth": 1 << bits}
    plain = dicom(ramp, BitsStored=bits, **window)
    (tmp_path / "plain.dcm").write_bytes(plain)
    command = [encoder, *([option] if option else []), str(tmp_path / "plain.dcm"), str(tmp_path / "packed.dcm")]
    subprocess.run(command, check=True, capture_output=True)
    packed = read_dicom((tmp_path / "packed.dcm").read_bytes(), ANY_SIZE)
    assert packed.header.transfer_syntax_uid == syntax
    difference = np.abs(packed.pixels.astype(int) - read_dicom(plain, ANY_SIZE).pixels)
    assert difference.max() <= tolerance


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [(uid.HTJ2KLossless, htj2k.LOSSLESS), (uid.HTJ2KLosslessRPCL, htj2k.LOSSLESS), (uid.HTJ2K, htj2k.LOSSY)],
)
def test_what_openjph_encodes(
    dataset: Callable[..., Dataset], written: Callable[[Dataset], bytes], syntax: str, stream: bytes
) -> None:
    rows, columns = np.mgrid[0:64, 0:64]
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    plain = dataset((rows * columns).astype(np.uint16), **window)
    packed = dataset((rows * columns).astype(np.uint16), **window)
    packed.PixelData = encapsulate([stream])
    packed["PixelData"].VR = "OB"
    packed.file_meta.TransferSyntaxUID = syntax
    read = read_dicom(written(packed), ANY_SIZE)
    assert read.header.transfer_syntax_uid == syntax
    difference = np.abs(read.pixels.astype(int) - read_dicom(written(plain), ANY_SIZE).pixels)
    assert difference.max() <= (1 if syntax == uid.HTJ2K else 0)


def test_native_pixels_in_fragments_are_read_as_native_ones() -> None:
    dataset, native = as_radiograph("CT_small.dcm")
    expected = read_dicom(native, ANY_SIZE).pixels
    pixels = dataset.PixelData
    dataset.PixelData = encapsulate([pixels])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.98"
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert np.array_equal(read_dicom(stream.getvalue(), ANY_SIZE).pixels, expected)
    with pytest.raises(RejectedInput) as refused:
        read_dicom(stream.getvalue().replace(b"\xfe\xff\x00\xe0", b"\xfe\xff\x01\xe0"), ANY_SIZE)
    assert refused.value.code == "damaged"


def test_an_encoding_that_is_not_known_is_not_called_damage() -> None:
    dataset, _ = as_radiograph("CT_small.dcm")
    dataset.PixelData = encapsulate([b"some frame"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    stream = io.BytesIO()
    dataset.save_as(stream)
    unheard_of = stream.getvalue().replace(uid.HTJ2KLossless.encode(), b"1.2.840.10008.1.2.4.999")
    with pytest.raises(RejectedInput) as refused:
        read_dicom(unheard_of, ANY_SIZE)
    assert refused.value.code == "unsupported_encoding"
