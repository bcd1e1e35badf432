"""What is left of a file after de-identification: looked for in its bytes, not only in its attributes."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

from fractureai.domain.identity import patient_differences
from fractureai.domain.pseudonyms import Pseudonyms
from fractureai.domain.radiograph import Header
from fractureai.errors import RejectedInput
from fractureai.imaging.decoder import ChildDecoder
from fractureai.imaging.deidentifier import ChildDeidentifier
from fractureai.imaging.limits import DecodeLimits
from fractureai.phantoms.files import to_dicom
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.storage.pseudonym_book import FileBook, NoBook

KEY = bytes(range(32))
SECRETS = (b"Musterfrau", b"4711-SECRET", b"ACC-99", b"Dr. House", b"St. Elsewhere", b"19530417", b"1.2.826.0.1.77")


@pytest.fixture(scope="module")
def deidentifier() -> Iterator[ChildDeidentifier]:
    made = ChildDeidentifier(DecodeLimits(), Pseudonyms(KEY), NoBook(), shift_dates=True)
    yield made
    made.close()


def radiograph(number: int = 1, **changes: Any) -> Dataset:
    phantom = render(PhantomSpec("hand", "frontal", fractured=False, seed=number, height_px=160, width_px=128))
    study = "1.2.826.0.1.77.1"
    data = to_dicom(
        phantom, study_uid=study, series_uid=f"{study}.5", sop_uid=f"{study}.5.{number}", instance_number=number
    )
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.PatientName, dataset.PatientID = "Musterfrau^Erika", "4711-SECRET"
    dataset.PatientBirthDate, dataset.AccessionNumber = "19530417", "ACC-99"
    dataset.ReferringPhysicianName, dataset.InstitutionName = "Dr. House", "St. Elsewhere"
    dataset.StudyDate, dataset.AcquisitionDateTime = "20261101", "20261101080910.5+0100"
    dataset.StudyDescription = "Hand of Musterfrau"
    dataset.BodyPartExamined = "HAND"
    dataset.add_new((0x0009, 0x0010), "LO", "VENDOR")
    dataset.add_new((0x0009, 0x1001), "LO", "Musterfrau again")
    dataset.add_new((0x6000, 0x3000), "OW", b"Musterfrau drawn ")
    inner, request = Dataset(), Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", f"{study}.5.9"
    inner.PatientName = "Musterfrau^Nested"
    request.AccessionNumber, request.RequestedProcedureDescription = "ACC-99", "for Musterfrau"
    request.ReferencedStudySequence = [inner]
    dataset.RequestAttributesSequence = [request]
    dataset.ViewCodeSequence = [Dataset()]
    dataset.ViewCodeSequence[0].CodeMeaning = "oblique"
    dataset.ViewCodeSequence[0].PatientName = "Musterfrau^Kept sequence"
    dataset.file_meta.SourceApplicationEntityTitle = "Musterfrau"
    dataset.preamble = b"Musterfrau".ljust(128, b"\0")
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def clean(deidentifier: ChildDeidentifier, path: Path, site: str = "north") -> bytes:
    pieces: list[bytes] = []
    deidentifier.rewrite(path, site, pieces.append)
    return b"".join(pieces)


def test_nothing_of_whose_it_is_is_left_anywhere_in_the_file(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    original = radiograph()
    data = clean(deidentifier, written(original, tmp_path / "a.dcm"))
    raw = (tmp_path / "a.dcm").read_bytes()
    for secret in SECRETS:
        assert secret in raw
        assert secret not in data
    found = pydicom.dcmread(io.BytesIO(data))
    assert found.PixelData == original.PixelData
    assert (found.Modality, found.BodyPartExamined) == (original.Modality, "HAND")
    assert found.ViewCodeSequence[0].CodeMeaning == "oblique"
    assert found.PatientIdentityRemoved == "YES"
    assert [code.CodeValue for code in found.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert not any(element.tag.is_private for element in found)


def test_what_belonged_together_still_does_and_sites_are_apart(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    one, two = (
        pydicom.dcmread(io.BytesIO(clean(deidentifier, written(radiograph(number), tmp_path / f"{number}.dcm"))))
        for number in (1, 2)
    )
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.PatientID == two.PatientID
    assert one.PatientName == two.PatientName
    assert str(one.PatientName).startswith(f"{one.PatientID}^N")
    assert one.AccessionNumber == two.AccessionNumber
    elsewhere = pydicom.dcmread(io.BytesIO(clean(deidentifier, tmp_path / "1.dcm", "south")))
    assert elsewhere.PatientID != one.PatientID
    assert elsewhere.StudyInstanceUID != one.StudyInstanceUID
    assert clean(deidentifier, tmp_path / "1.dcm") == clean(deidentifier, tmp_path / "1.dcm")


def _header(deidentifier: ChildDeidentifier, folder: Path, decoder: ChildDecoder, **changes: Any) -> Header:
    (folder / "made.dcm").write_bytes(clean(deidentifier, written(radiograph(**changes), folder / "whole.dcm")))
    return decoder.decode(folder / "made.dcm").header


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"PatientName": "MUSTERFRAU^ERIKA^^^", "PatientID": " 4711-secret"}, ()),
        ({"PatientName": "Musterfrau^Erika^Maria"}, ()),
        ({"PatientBirthDate": ""}, ()),
        ({"PatientID": "4712-SECRET"}, ("patient ID", "name")),
        ({"PatientName": "Mustermann^Max"}, ("name",)),
        ({"PatientBirthDate": "19500101"}, ("name",)),
    ],
)
def test_two_patients_in_one_study_are_still_told_apart(
    deidentifier: ChildDeidentifier, tmp_path: Path, changes: dict[str, str], differences: tuple[str, ...]
) -> None:
    """Only what was a difference before is one afterwards; without an ID too."""
    with ChildDecoder() as decoder:
        one = _header(deidentifier, tmp_path, decoder)
        other = _header(deidentifier, tmp_path, decoder, **changes)
        assert patient_differences([one, other]) == differences
        one, other = (_header(deidentifier, tmp_path, decoder, **{**each, "PatientID": ""}) for each in ({}, changes))
        assert patient_differences([one, other]) == tuple(
            name for name in differences if name != "patient ID" and "PatientID" not in changes
        )


def test_a_name_does_not_tell_that_two_patients_share_it(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    words = []
    for patient_id in ("1", "2"):
        path = written(radiograph(PatientID=patient_id), tmp_path / "a.dcm")
        name = str(pydicom.dcmread(io.BytesIO(clean(deidentifier, path))).PatientName)
        words.append(set(name.replace("^", " ").split()))
    assert words[0].isdisjoint(words[1])


def test_dates_move_together_or_go(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    first = written(radiograph(), tmp_path / "a.dcm")
    later = written(radiograph(2, StudyDate="20261111"), tmp_path / "b.dcm")
    one, two = (pydicom.dcmread(io.BytesIO(clean(deidentifier, path))) for path in (first, later))
    days = np.datetime64(f"{two.StudyDate[:4]}-{two.StudyDate[4:6]}-{two.StudyDate[6:]}") - np.datetime64(
        f"{one.StudyDate[:4]}-{one.StudyDate[4:6]}-{one.StudyDate[6:]}"
    )
    assert int(days.astype(int)) == 10
    assert one.StudyDate < "20261101"
    assert str(one.AcquisitionDateTime) == f"{one.StudyDate}080910.5+0100"
    assert one.PatientBirthDate == ""
    without = ChildDeidentifier(DecodeLimits(), Pseudonyms(KEY), NoBook(), shift_dates=False)
    try:
        gone = pydicom.dcmread(io.BytesIO(clean(without, first)))
    finally:
        without.close()
    assert not gone.StudyDate
    assert gone.LongitudinalTemporalInformationModified == "REMOVED"


def test_it_is_still_a_radiograph(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    path = written(radiograph(), tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(clean(deidentifier, path))
    with ChildDecoder() as decoder:
        before, after = decoder.decode(path), decoder.decode(tmp_path / "b.dcm")
    assert np.array_equal(before.pixels, after.pixels)
    assert after.header.patient_id.startswith("P")


def test_a_jpeg_keeps_its_picture_and_its_orientation_only(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    picture = Image.fromarray(np.tile(np.arange(0, 240, 4, np.uint8), (50, 1)))
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Musterfrau", 6
    picture.save(tmp_path / "a.jpg", exif=exif, comment=b"Musterfrau said", quality=90)
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"Musterfrau behind the end")
    data = clean(deidentifier, tmp_path / "a.jpg")
    assert b"Musterfrau" not in data
    with Image.open(io.BytesIO(data)) as found, Image.open(tmp_path / "a.jpg") as before:
        assert found.getexif()[0x0112] == 6
        assert np.array_equal(np.asarray(found), np.asarray(before))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_pictures_keep_their_pixels_only(deidentifier: ChildDeidentifier, tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray(np.tile(np.arange(0, 240, 4, np.uint8), (50, 1)))
    exif = Image.Exif()
    exif[0x010E] = "Musterfrau"
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "Musterfrau")
    text.add_itxt("Patient", "Musterfrau", zip=False)
    named: dict[str, Any] = {
        "PNG": {"pnginfo": text, "exif": exif},
        "WEBP": {"lossless": True, "exif": exif},
        "TIFF": {"description": "Musterfrau"},
    }[kind]
    path = tmp_path / "picture"
    picture.convert("RGB" if kind == "WEBP" else "L").save(path, kind, **named)
    assert b"Musterfrau" in path.read_bytes()
    data = clean(deidentifier, path)
    assert b"Musterfrau" not in data
    with Image.open(io.BytesIO(data)) as found, Image.open(path) as before:
        assert np.array_equal(np.asarray(found), np.asarray(before))
        assert not found.getexif()


def test_sixteen_bits_stay_sixteen(deidentifier: ChildDeidentifier, tmp_path: Path) -> None:
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 13
    Image.fromarray(values).save(tmp_path / "a.tif")
    with Image.open(io.BytesIO(clean(deidentifier, tmp_path / "a.tif"))) as found:
        assert np.array_equal(np.asarray(found).astype(np.uint16), values)


def _tiff(*, width_px: int = 40, height_px: int = 48, photometric: int = 1) -> bytes:
    """A grey TIFF of no compression."""
    fields = {256: width_px, 257: height_px, 258: 8, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height_px}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + bytes(1920)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"just text", "unknown_type"),
        (b"", "empty_file"),
        (b"\0" * 128 + b"DICM" + b"\x08\x00\x18\x00UI\xff\xff", "damaged"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 1 << 30, b"IHDR"), "damaged"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "damaged"),
        (_tiff(width_px=30_000, height_px=30_000), "too_many_pixels"),
        (_tiff(photometric=7), "damaged"),
    ],
)
def test_what_cannot_be_cleaned_is_refused_before_a_byte_is_written(
    deidentifier: ChildDeidentifier, tmp_path: Path, data: bytes, code: str
) -> None:
    (tmp_path / "a").write_bytes(data)
    pieces: list[bytes] = []
    with pytest.raises(RejectedInput) as refused:
        deidentifier.rewrite(tmp_path / "a", "north", pieces.append)
    assert refused.value.code == code
    assert pieces == []


@pytest.mark.parametrize("key", [KEY, None])
def test_the_book_tells_whose_a_pseudonym_is(tmp_path: Path, key: bytes | None) -> None:
    book = FileBook(tmp_path / "book", key)
    made = ChildDeidentifier(DecodeLimits(), Pseudonyms(KEY), book, shift_dates=True)
    try:
        for number in (1, 2):
            clean(made, written(radiograph(number), tmp_path / f"{number}.dcm"))
    finally:
        made.close()
    entries = list(FileBook(tmp_path / "book", key).entries())
    assert [entry[1:3] for entry in entries] == [
        ("patient", "4711-SECRET"),
        ("accession", "ACC-99"),
        ("study", "1.2.826.0.1.77.1"),
    ]
    assert entries[0][3] == Pseudonyms(KEY).patient("north", "4711-SECRET")
    assert (b"4711-SECRET" in (tmp_path / "book").read_bytes()) is (key is None)
    assert (tmp_path / "book").stat().st_mode & 0o077 == 0


def test_pseudonyms_need_the_key() -> None:
    mine, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    assert mine.patient("north", "1") != other.patient("north", "1")
    assert mine.patient("north", "") == ""
    uid = mine.uid("north", "1.2.3")
    assert pydicom.uid.UID(uid).is_valid
    assert -3650 <= mine.shift_days("north", "1") <= -1
    named = mine.file_name("north", "Musterfrau/scan 1/IM1.DCM")
    assert named.count("/") == 2
    assert named.endswith(".dcm")
    assert named.rsplit("/", 1)[0] == mine.file_name("north", "Musterfrau/scan 1/IM2.dcm").rsplit("/", 1)[0]
    with pytest.raises(ValueError, match="random bytes"):
        Pseudonyms(b"short")
