"""Programs this project did not write, on every object."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.bad_files import phantom_dicom

Run = Callable[..., str]


@pytest.fixture(scope="session")
def shared_file() -> Path:
    beside = Path(__file__).parents[4].parent / "shared" / "data"
    file = Path(os.environ.get("FRACTUREAI_SHARED_DATA", beside)) / "dicom" / "RG3_J2KR.dcm"
    if not file.is_file():
        pytest.skip(f"no real file at {file}; set FRACTUREAI_SHARED_DATA to the folder of them")
    return file


def errors_of(written: Any, run: Run, folder: Path) -> dict[str, list[str]]:
    """What dciodvfy calls an error, by object."""
    found = {}
    for name, (_, data) in written.objects.items():
        (folder / f"{name}.dcm").write_bytes(data)
        lines = run("dciodvfy", folder / f"{name}.dcm").splitlines()
        found[name] = [line for line in lines if "error" in line.lower()]
    return found


def lut(*entries: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), 0, 16])
    item.add_new("LUTData", "OW", b"".join(entry.to_bytes(2, "little") for entry in entries))
    return Sequence([item])


SHUTTER = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 10, "ShutterRightVerticalEdge": 300,
           "ShutterUpperHorizontalEdge": 10, "ShutterLowerHorizontalEdge": 400}  # fmt: skip
SOURCES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    "several windows": {"WindowCenter": [2048, 1000], "WindowWidth": [4096, 500]},
    "no window": {"WindowCenter": None, "WindowWidth": None},
    "sigmoid": {"VOILUTFunction": "SIGMOID"},
    "a VOI table": {"VOILUTSequence": lut(*range(0, 65536, 64)), "WindowCenter": None, "WindowWidth": None},
    "a shutter": SHUTTER,
    "a shutter that is not whole": SHUTTER | {"ShutterLeftVerticalEdge": None},
    "no spacing": {"PixelSpacing": None, "ImagerPixelSpacing": None},
    "a spacing of zero": {"PixelSpacing": [0, 0], "ImagerPixelSpacing": None},
    "no side": {"ImageLaterality": None},
    "a time zone": {"TimezoneOffsetFromUTC": "+0530"},
    "Japanese": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    "next to nothing": dict.fromkeys(
        ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
         "StudyID", "ReferringPhysicianName", "BodyPartExamined", "ImageLaterality", "PatientOrientation",
         "RescaleSlope", "RescaleIntercept", "RescaleType", "StudyDescription")),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_no_errors_whatever_the_source_says(kit: Any, run: Run, tmp_path: Path, name: str) -> None:
    written = kit.write(kit.source(kit.edited(phantom_dicom(), **SOURCES[name]), 1))
    assert not any(errors_of(written, run, tmp_path).values())


def test_no_errors_in_a_study_of_many_views(many: Any, run: Run, tmp_path: Path) -> None:
    found = errors_of(many, run, tmp_path)
    assert len(found) == 3 + 3 + 2
    assert not any(found.values()), found


def test_no_errors_for_a_real_radiograph(kit: Any, run: Run, tmp_path: Path, shared_file: Path) -> None:
    written = kit.write(kit.source(shared_file.read_bytes(), 1))
    assert not any(errors_of(written, run, tmp_path).values())


def test_dcmtk_reads_everything(many: Any, run: Run, tmp_path: Path) -> None:
    for name, (_, data) in many.objects.items():
        (tmp_path / f"{name}.dcm").write_bytes(data)
        dump = run("dcmdump", "-q", tmp_path / f"{name}.dcm")
        assert many.result.software_version in dump


def test_dcmtk_reads_the_report(many: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "sr.dcm").write_bytes(many.objects["sr"][1])
    text = run("dsrdump", "+U8", "+Pl", tmp_path / "sr.dcm")
    assert "Comprehensive 3D SR Document" in text
    assert "UNVERIFIED" in text or "Unverified" in text
    assert '"Probability of fracture")="83.00"' in text
    assert "Not for diagnostic use" in text


@pytest.mark.parametrize("name", ["summary", "overlay-1"])
def test_dcmtk_shows_the_captures(one: Any, run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "in.dcm").write_bytes(one.objects[name][1])
    run("dcmj2pnm", "+op", tmp_path / "in.dcm", tmp_path / "out.ppm")
    dataset = one.dataset(name)
    assert (tmp_path / "out.ppm").stat().st_size >= 3 * dataset.Rows * dataset.Columns


def test_dcmtk_applies_the_presentation_state(one: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "image.dcm").write_bytes(phantom_dicom())
    (tmp_path / "state.dcm").write_bytes(one.objects["gsps-1"][1])
    run("dcmp2pgm", "-p", tmp_path / "state.dcm", tmp_path / "image.dcm", tmp_path / "out.pgm")
    assert (tmp_path / "out.pgm").read_bytes().startswith(b"P5")


def test_dcmtk_takes_the_pdf_out_as_it_went_in(one: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(one.objects["pdf"][1])
    run("dcm2pdf", tmp_path / "in.dcm", tmp_path / "out.pdf")
    assert (tmp_path / "out.pdf").read_bytes().rstrip(b"\0") == one.pdf
