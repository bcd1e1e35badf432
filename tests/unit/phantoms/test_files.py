from __future__ import annotations

import io
import zipfile

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from fractureai.phantoms.batch import demo_files
from fractureai.phantoms.files import chest_dicom, to_dicom, to_jpeg, to_png
from fractureai.phantoms.render import Phantom, PhantomSpec, render

UIDS = {"study_uid": "2.25.11", "series_uid": "2.25.12", "sop_uid": "2.25.13"}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return render(PhantomSpec("elbow", "lateral", True, 9, 256, 224))


@pytest.fixture(scope="module")
def batch() -> dict[str, bytes]:
    return dict(demo_files(7))


def test_dicom_holds_the_pixels_and_says_what_they_are(phantom: Phantom) -> None:
    content = to_dicom(phantom, **UIDS, instance_number=2)
    assert content == to_dicom(phantom, **UIDS, instance_number=2)
    ds = dcmread(io.BytesIO(content))
    np.testing.assert_array_equal(ds.pixel_array, phantom.pixels)
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == DigitalXRayImageStorageForPresentation
    assert (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID) == tuple(UIDS.values())
    assert ds.InstanceNumber == 2
    assert (ds.Modality, ds.BodyPartExamined, ds.ImageLaterality) == ("DX", "ELBOW", phantom.laterality)
    assert (ds.PhotometricInterpretation, ds.BitsStored, ds.BitsAllocated) == ("MONOCHROME2", 12, 16)
    assert float(ds.PixelSpacing[0]) == pytest.approx(phantom.pixel_spacing_mm, abs=1e-5)
    assert ds.PatientID == "PHANTOM-ELB00009"
    for keyword in ("PatientBirthDate", "AccessionNumber", "StudyDate", "ViewPosition", "WindowCenter", "StudyID"):
        assert keyword in ds


def test_dicom_takes_a_patient_of_ones_own(phantom: Phantom) -> None:
    content = to_dicom(phantom, **UIDS, patient_id="PHANTOM-7", patient_name="Phantom^Test")
    ds = dcmread(io.BytesIO(content))
    assert (ds.PatientID, str(ds.PatientName)) == ("PHANTOM-7", "Phantom^Test")


def test_pictures_hold_the_same_greys(phantom: Phantom) -> None:
    def decoded(content: bytes) -> np.ndarray:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)

    np.testing.assert_array_equal(decoded(to_png(phantom, 16)), phantom.pixels << 4)
    np.testing.assert_array_equal(decoded(to_png(phantom)), phantom.pixels >> 4)
    jpeg = decoded(to_jpeg(phantom)).astype(int)
    assert np.abs(jpeg - (phantom.pixels >> 4)).mean() < 3
    with pytest.raises(ValueError, match="8 or 16"):
        to_png(phantom, 12)


def test_chest_is_a_chest() -> None:
    ds = dcmread(io.BytesIO(chest_dicom(1, **UIDS, size_px=128)))
    assert (ds.BodyPartExamined, ds.Rows, ds.Columns) == ("CHEST", 128, 128)


def test_batch_is_mixed_and_moderate(batch: dict[str, bytes]) -> None:
    assert 12 <= len(batch) <= 16
    assert sum(map(len, batch.values())) < 40e6
    assert {name.rpartition(".")[2] for name in batch} == {"dcm", "png", "jpg", "zip"}


def test_batch_has_two_view_studies(batch: dict[str, bytes]) -> None:
    for region in ("hand", "shoulder"):
        pair = [dcmread(io.BytesIO(batch[f"{region}-two-views-{n}.dcm"]), stop_before_pixels=True) for n in (1, 2)]
        assert pair[0].StudyInstanceUID == pair[1].StudyInstanceUID
        assert pair[0].SOPInstanceUID != pair[1].SOPInstanceUID
        assert [ds.InstanceNumber for ds in pair] == [1, 2]
        assert all(UID(ds.StudyInstanceUID).is_valid for ds in pair)


def test_batch_has_an_archive_with_folders_and_junk(batch: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(batch["upload.zip"])) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert {"readme.txt", ".DS_Store"} <= set(names)
    assert sum(name.count("/") >= 2 for name in names) == 4


def test_batch_has_trouble_in_it(batch: dict[str, bytes]) -> None:
    ds = dcmread(io.BytesIO(batch["damaged.dcm"]))
    with pytest.raises((ValueError, AttributeError)):
        _ = ds.pixel_array
    with pytest.raises(InvalidDicomError):
        dcmread(io.BytesIO(batch["notes.png"]))
    assert dcmread(io.BytesIO(batch["chest.dcm"]), stop_before_pixels=True).BodyPartExamined == "CHEST"
