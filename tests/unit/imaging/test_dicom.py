from __future__ import annotations

import io
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from fractureai.errors import RejectedInput
from fractureai.imaging.dicom import instance_identity, read_dicom
from fractureai.imaging.limits import DecodeLimits
from tests.unit.imaging.encodings import compress

LIMITS = DecodeLimits()


def stripes(values: list[int], dtype: str = "uint16") -> np.ndarray:
    """Vertical stripes of 10 columns above a ramp through the same values: a picture that uses its scale."""
    columns = 10 * len(values)
    ramp = np.interp(np.linspace(0, len(values) - 1, 40 * columns), range(len(values)), values)
    top = np.tile(np.repeat(np.array(values), 10), (40, 1))
    return np.vstack([top, np.rint(ramp).reshape(40, columns)]).astype(dtype)


def shown(data: bytes) -> list[int]:
    return read_dicom(data, LIMITS).pixels[20, 5::10].tolist()


def reason(data: bytes, limits: DecodeLimits = LIMITS) -> RejectedInput:
    with pytest.raises(RejectedInput) as caught:
        read_dicom(data, limits)
    return caught.value


def lut(entries: list[int], first: int, bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first % 65536, bits])
    item.add_new("LUTData", "US", entries)
    return Sequence([item])


TWELVE = {"BitsStored": 12}
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}

# name: stored values, their type, attributes, the levels that PS3.3 section C.11 gives, worked out by hand.
TABLE = {
    # Window 2048/4096 spans 0..4095: 1024 / 4095 * 255 = 63.8, 2048 / 4095 * 255 = 127.5.
    "12 bit, full window": ([0, 1024, 2048, 4095], "uint16", TWELVE | FULL, [0, 64, 128, 255]),
    "the same, inverted": (
        [0, 1024, 2048, 4095],
        "uint16",
        TWELVE | FULL | {"PhotometricInterpretation": "MONOCHROME1"},
        [255, 191, 127, 0],
    ),
    "left aligned": (
        [0, 1024 << 4, (2048 << 4) + 15, 4095 << 4],
        "uint16",
        TWELVE | FULL | {"HighBit": 15},
        [0, 64, 128, 255],
    ),
    # Window 0/2001 spans -1000.5..999.5: (-500 + 1000.5) / 2000 * 255 = 63.8.
    "12 bit, signed": (
        [-1000, -500, 0, 999],
        "int16",
        TWELVE | {"WindowCenter": 0, "WindowWidth": 2001},
        [0, 64, 128, 255],
    ),
    "12 bit, signed, sign not extended": (
        [0x0C18, 0x0E0C, 0x0000, 0x03E7],
        "int16",
        TWELVE | {"WindowCenter": 0, "WindowWidth": 2001},
        [0, 64, 128, 255],
    ),
    # Window 100.5/201 spans 0..200, of values doubled.
    "slope without intercept": (
        [0, 25, 50, 150],
        "uint8",
        {"RescaleSlope": 2, "WindowCenter": 100.5, "WindowWidth": 201},
        [0, 64, 128, 255],
    ),
    "slope and intercept": (
        [1024, 1049, 1074, 1300],
        "uint16",
        {"RescaleSlope": 2, "RescaleIntercept": -2048, "WindowCenter": 100.5, "WindowWidth": 201},
        [0, 64, 128, 255],
    ),
    "negative slope": (
        [0, 100, 200, 255],
        "uint8",
        {"RescaleSlope": -1, "RescaleIntercept": 255, "WindowCenter": 128, "WindowWidth": 256},
        [255, 155, 55, 0],
    ),
    "linear exact": (
        [0, 25, 50, 150],
        "uint8",
        {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"},
        [0, 64, 128, 255],
    ),
    # 1 / (1 + exp(-4 * (x - 100) / 40)): 1/(1+e) = 0.269, 1/(1+1/e) = 0.731.
    "sigmoid": (
        [0, 90, 100, 110],
        "uint8",
        {"WindowCenter": 100, "WindowWidth": 40, "VOILUTFunction": "SIGMOID"},
        [0, 69, 128, 186],
    ),
    "several windows: the first": (
        [0, 1024, 2048, 4095],
        "uint16",
        TWELVE | {"WindowCenter": [2048, 9], "WindowWidth": [4096, 2]},
        [0, 64, 128, 255],
    ),
    "window of width 1, which leaves black and white: left out": (
        [0, 99, 100, 255],
        "uint8",
        {"WindowCenter": 100, "WindowWidth": 1},
        [0, 99, 100, 255],
    ),
    "impossible window: left out": (
        [0, 100, 200, 255],
        "uint8",
        {"WindowCenter": 9, "WindowWidth": 0},
        [0, 100, 200, 255],
    ),
    "8 bit, no window: as it is": ([0, 100, 200, 255], "uint8", {}, [0, 100, 200, 255]),
    "8 bit, no window, inverted": (
        [0, 100, 200, 255],
        "uint8",
        {"PhotometricInterpretation": "MONOCHROME1"},
        [255, 155, 55, 0],
    ),
    # Of 0..4095: 1000 / 4095 * 255 = 62.3, 2000 / 4095 * 255 = 124.5.
    "12 bit, no window": ([100, 1000, 2000, 3000], "uint16", TWELVE, [6, 62, 125, 187]),
    # A scale that is mostly empty is filled from 0.08 on for 0.8 of it: 20.4 + 900 / 2900 * 204 = 83.7, and so on.
    "16 bit, signed, no window": ([-3000, -2100, -1100, -100], "int16", {}, [20, 84, 154, 224]),
    "a window that shows nothing": (
        [100, 1000, 2000, 3000],
        "uint16",
        TWELVE | {"WindowCenter": 60000, "WindowWidth": 10},
        [6, 62, 125, 187],
    ),
    "padding, inverted: black": (
        [0, 1024, 2048, 4095],
        "uint16",
        TWELVE | FULL | {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0},
        [0, 191, 127, 0],
    ),
    # Padding is black, whatever its value is worth.
    "padding, no window": ([4000, 1000, 2000, 3000], "uint16", TWELVE | {"PixelPaddingValue": 4000}, [0, 62, 125, 187]),
    "range of padding": (
        [900, 1000, 2000, 4000],
        "uint16",
        TWELVE | {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 900},
        [0, 62, 125, 249],
    ),
    # -1024 + 2048 of 4095.
    "signed padding": (
        [-2048, -1024, 0, 2047],
        "int16",
        TWELVE | {"PixelPaddingValue": -2048},
        [0, 64, 128, 255],
    ),
    # A table of six entries from 100 on; below it the first, above it the last.
    "VOI LUT": (
        [0, 101, 103, 250],
        "uint8",
        {"VOILUTSequence": lut([0, 51, 102, 153, 204, 255], 100, 8)},
        [0, 51, 153, 255],
    ),
    "VOI LUT deeper in name than in fact": (
        [0, 101, 103, 250],
        "uint8",
        {"VOILUTSequence": lut([0, 1024, 2048, 3072, 4095, 4095], 100, 16)},
        [0, 64, 191, 255],
    ),
    "VOI LUT before window": (
        [0, 101, 103, 250],
        "uint8",
        {"VOILUTSequence": lut([0, 51, 102, 153, 204, 255], 100, 8), "WindowCenter": 3, "WindowWidth": 9},
        [0, 51, 153, 255],
    ),
    "VOI LUT from a negative value on": (
        [-3, -2, 0, 9],
        "int16",
        {"VOILUTSequence": lut([0, 51, 102, 153, 204, 255], -3, 8)},
        [0, 51, 153, 255],
    ),
    "modality LUT, then window": (
        [0, 100, 200, 250],
        "uint8",
        {"ModalityLUTSequence": lut(list(range(1000, -1, -4)), 0, 16), "WindowCenter": 500.5, "WindowWidth": 1001},
        [255, 153, 51, 0],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_grey_levels(dicom, name):
    values, dtype, attributes, expected = TABLE[name]
    assert shown(dicom(stripes(values, dtype), **attributes)) == expected


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_uncompressed_syntaxes(dicom, syntax, dtype):
    data = dicom(stripes([10, 60, 110, 120], dtype), syntax, WindowCenter=60.5, WindowWidth=101)
    assert shown(data) == [0, 128, 255, 255]
    assert read_dicom(data, LIMITS).header.transfer_syntax_uid == syntax


UNSIGNED = [("uint8", 8), ("uint16", 16), ("uint16", 12)]
SIGNED = [("int16", 16), ("int16", 12)]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("dtype", "bits"), UNSIGNED + SIGNED)
def test_lossless_syntaxes(dataset, written, syntax, dtype, bits):
    pixels = stripes([-90, 0, 60, 100], dtype) if dtype == "int16" else stripes([0, 90, 150, 200], dtype)
    plain = dataset(pixels)
    plain.BitsStored, plain.HighBit = bits, bits - 1
    plain.WindowCenter, plain.WindowWidth = (0, 200) if dtype == "int16" else (100, 200)
    expected = shown(written(plain))
    assert shown(written(compress(plain, pixels, syntax))) == expected


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_grey_stored_as_colour(dataset, written, syntax):
    grey = dataset(np.stack([stripes([0, 100, 200, 255], "uint8")] * 3, axis=-1))
    if syntax == RLELossless:
        grey.compress(syntax, generate_instance_uid=False)
    assert shown(written(grey)) == [0, 100, 200, 255]


def test_colour_is_refused(dicom):
    pixels = stripes([0, 100, 200, 255], "uint8")
    assert reason(dicom(np.stack([pixels, 255 - pixels, pixels], axis=-1))).code == "colour_image"


@pytest.mark.parametrize(
    ("sop_class", "modality", "code"),
    [
        ("1.2.840.10008.5.1.4.1.1.1", "CR", None),
        ("1.2.840.10008.5.1.4.1.1.1.1", "DX", None),
        ("1.2.840.10008.5.1.4.1.1.1.1.1", "DX", None),
        ("1.2.840.10008.5.1.4.1.1.12.2", "RF", None),
        ("1.2.840.10008.5.1.4.1.1.7", "OT", None),
        ("1.2.840.10008.5.1.4.1.1.7", "RG", None),
        ("1.2.840.10008.5.1.4.1.1.7", None, None),
        (None, "CR", None),
        (None, None, "not_a_radiograph"),
        (None, "OT", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.1", "MG", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.7", "CT", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.7", "ES", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.2", "CT", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.1.2", "MG", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.1.3", "IO", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.12.1", "XA", "not_a_radiograph"),
        ("1.2.840.10008.5.1.4.1.1.77.1.4", "XC", "not_a_radiograph"),
        ("1.2.3.4.5.6.7", "DX", "not_a_radiograph"),
    ],
)
def test_which_objects_are_radiographs(dicom, sop_class, modality, code):
    data = dicom(stripes([0, 100, 200, 255], "uint8"), SOPClassUID=sop_class, Modality=modality)
    if code is None:
        assert shown(data) == [0, 100, 200, 255]
    else:
        assert reason(data).code == code


def test_the_reason_names_the_object_and_repeats_no_free_text(dicom):
    pixels = stripes([0, 100, 200, 255], "uint8")
    ct = dicom(pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")
    assert reason(ct).detail == "CT Image Storage, modality CT"
    odd = dicom(pixels, SOPClassUID="1.2.3", Modality="JOHN DOE")
    assert reason(odd).detail == ""


def test_without_pixels(dicom):
    assert reason(dicom(None)).code == "no_pixels"
    assert reason(dicom(stripes([0, 1, 2, 3]), PixelData=None)).code == "no_pixels"
    assert reason(dicom(stripes([0, 1, 2, 3]), PixelData=b"")).code == "no_pixels"
    report = reason(dicom(None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"))
    assert (report.code, report.detail) == ("no_pixels", "Basic Text SR Storage, modality SR")


@pytest.mark.parametrize("frames", [2, 10_000, 1_000_000, 2**31 - 1])
def test_frames_are_refused_before_decoding(dicom, frames):
    assert reason(dicom(stripes([0, 1, 2, 3]), NumberOfFrames=frames)).code == "multi_frame"


def test_no_frames_means_one(dicom):
    assert shown(dicom(stripes([0, 100, 200, 255], "uint8"), NumberOfFrames=0)) == [0, 100, 200, 255]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Rows": 60_000, "Columns": 60_000}, "too_many_pixels"),
        ({"Rows": 1, "Columns": 1}, "too_small"),
        ({"Rows": 0}, "too_small"),
        ({"Rows": None}, "damaged"),
        ({"Columns": 41}, "damaged"),
        ({"BitsAllocated": 32}, "unsupported_encoding"),
        ({"BitsAllocated": 0}, "unsupported_encoding"),
        ({"BitsStored": 40, "HighBit": 39}, "damaged"),
        ({"BitsStored": 12, "HighBit": 3}, "damaged"),
        ({"SamplesPerPixel": 4}, "damaged"),
        ({"PhotometricInterpretation": "NONSENSE"}, "damaged"),
        ({"VOILUTSequence": lut([], 0, 8)}, "damaged"),
        ({"VOILUTSequence": Sequence([Dataset()])}, "damaged"),
    ],
)
def test_impossible_headers(dicom, attributes, code):
    assert reason(dicom(stripes([0, 1000, 2000, 3000]), **attributes)).code == code


def test_unknown_transfer_syntax(dicom):
    data = dicom(stripes([0, 1000, 2000, 3000]), WindowWidth=4096, WindowCenter=2048)
    assert reason(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")).code == "unsupported_encoding"


def test_blank(dicom):
    assert reason(dicom(np.full((50, 50), 700, np.uint16))).code == "blank_image"
    assert reason(dicom(np.full((50, 50), 700, np.uint16), PixelPaddingValue=700)).code == "blank_image"


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_truncated(dicom, part):
    data = dicom(stripes([0, 1000, 2000, 3000]))
    assert reason(data[: int(len(data) * part)]).code in {"damaged", "no_pixels"}


def test_a_deflated_bomb_is_not_inflated(dicom):
    data = dicom(stripes([0, 1000, 2000, 3000]), DeflatedExplicitVRLittleEndian)
    plain = dicom(stripes([0, 1000, 2000, 3000]))
    marker = b"1.2.840.10008.1.2.1.99"
    start = data.index(marker) + len(marker)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = plain[-4000:] + bytes(64 * 1024 * 1024)
    bomb = data[:start] + squeeze.compress(body) + squeeze.flush()
    assert len(bomb) < 100_000
    small = DecodeLimits(max_bytes=1024 * 1024)
    assert reason(bomb, small).code == "too_many_bytes"
    assert instance_identity(bomb, small) is None


def test_deflated_data_cut_off(dicom):
    data = dicom(stripes([0, 1000, 2000, 3000]), DeflatedExplicitVRLittleEndian)
    assert reason(data[:-20]).code == "damaged"


def test_endless_nesting(dataset, written):
    nested = Dataset()
    nested.PatientID = "x"
    for _ in range(200):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([nested])
        nested = outer
    shallow = dataset(stripes([0, 1000, 2000, 65535]))
    shallow.ReferencedSeriesSequence = Sequence([nested])
    assert shown(written(shallow))[-1] == 255
    opened = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    head = written(dataset(None))
    assert reason(head + opened * 20_000).code == "damaged"


def test_an_element_longer_than_the_file(dicom):
    head = dicom(None)
    assert reason(head + b"\xe0\x7f\x10\x00OW\0\0\xfe\xff\xff\xff" + b"\0" * 100).code in {"damaged", "no_pixels"}


def test_without_preamble_and_meta(dataset):
    bare = dataset(stripes([0, 100, 200, 255], "uint8"))
    del bare.file_meta
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, bare, implicit_vr=True, little_endian=True)
    assert read_dicom(stream.getvalue(), LIMITS).pixels[20, 5::10].tolist() == [0, 100, 200, 255]


def test_any_damage_is_a_reason_or_a_picture(dicom):
    rng = np.random.default_rng(5)
    good = dicom(
        stripes([0, 1000, 2000, 3000]), WindowCenter=1500, WindowWidth=3000, PatientName="A^B", NumberOfFrames=1
    )
    for _ in range(300):
        data = bytearray(good)
        for at in rng.integers(132, 900, 4):
            data[at] = rng.integers(0, 256)
        try:
            read_dicom(bytes(data), LIMITS)
        except RejectedInput:
            continue


def test_large_images_shrink_and_keep_their_spacing(dicom):
    pixels = np.tile(np.linspace(0, 4095, 1200).astype(np.uint16), (2400, 1))
    image = read_dicom(dicom(pixels, BitsStored=12, PixelSpacing=[0.2, 0.2]), LIMITS)
    assert image.pixels.shape == (1024, 512)
    assert (image.source_height_px, image.source_width_px) == (2400, 1200)
    assert image.pixel_spacing_mm == (0.2, 0.2)
