"""Phantoms as files: DICOM (Digital X-Ray Image Storage - For Presentation), PNG and JPEG. Deterministic bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from fractureai.domain.anatomy import PARTS
from fractureai.phantoms.chest import render_chest
from fractureai.phantoms.render import Phantom

_IMPLEMENTATION_UID = "2.25.329800735698586629295641978511506172918"
_STUDY_DATE, _STUDY_TIME = "20260105", "093000"
_CHEST_SPACING_MM = 0.24

#: Body Part Examined by region (PS3.16 annex L).
_BODY_PARTS = {name: name.upper() for name in ("elbow", "hand", "shoulder", "hip", "leg", "chest")}
#: View: View Position (0018,5101), Patient Orientation of the picture's rows and columns.
_VIEWS = {"frontal": ("AP", ["L", "F"]), "lateral": ("LL", ["A", "F"]), "oblique": ("LLO", ["L", "F"])}


@dataclass(frozen=True, slots=True)
class Labels:
    """The identifiers of one instance."""

    study_uid: str
    series_uid: str
    sop_uid: str
    instance_number: int
    patient_id: str
    patient_name: str


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def _describe_patient_and_study(ds: Dataset, labels: Labels, body_part: str) -> None:
    ds.PatientName, ds.PatientID = labels.patient_name, labels.patient_id
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = labels.study_uid, labels.series_uid
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = _STUDY_DATE
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = _STUDY_TIME
    ds.AccessionNumber = "P" + labels.study_uid[-8:]
    ds.StudyID = labels.study_uid[-6:]
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = ds.SeriesDescription = f"PHANTOM {body_part}"
    ds.Modality, ds.SeriesNumber, ds.PresentationIntentType = "DX", 1, "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "FractureAI", "X-ray phantom"
    ds.InstanceNumber, ds.SOPInstanceUID = labels.instance_number, labels.sop_uid
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation


def _describe_image(ds: Dataset, region: str, view: str, laterality: str, spacing_mm: float) -> None:
    part = PARTS[_BODY_PARTS[region]]
    position, orientation = _VIEWS[view]
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.DerivationDescription = "Computed phantom, not a patient"
    ds.BodyPartExamined, ds.ViewPosition = part.term, position
    ds.ImageLaterality, ds.PatientOrientation = laterality, orientation
    ds.AnatomicRegionSequence = _code(part.code, "SCT", part.meaning)
    ds.ImagerPixelSpacing = ds.PixelSpacing = [f"{spacing_mm:.6f}"] * 2
    ds.DetectorType, ds.PositionerType = "DIRECT", ""
    ds.AcquisitionContextSequence = Sequence([])
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape, ds.LossyImageCompression, ds.BurnedInAnnotation = "IDENTITY", "00", "NO"
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"


def _encode(ds: Dataset, pixels: NDArray[np.uint16]) -> bytes:
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, _IMPLEMENTATION_UID
    meta.ImplementationVersionName = "FRACTUREAI"
    buffer = io.BytesIO()
    file = FileDataset(None, ds, preamble=b"\0" * 128, file_meta=meta)
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def to_dicom(
    phantom: Phantom,
    *,
    study_uid: str,
    series_uid: str,
    sop_uid: str,
    instance_number: int = 1,
    patient_id: str = "",
    patient_name: str = "",
) -> bytes:
    """A phantom as DICOM Part 10 file, Explicit VR Little Endian, 12 bits stored (PS3.3 A.26, DX IOD)."""
    spec = phantom.spec
    patient = patient_id or f"PHANTOM-{spec.region[:3].upper()}{spec.seed:05d}"
    name = patient_name or f"Phantom^{spec.region.capitalize()}"
    ds = Dataset()
    labels = Labels(study_uid, series_uid, sop_uid, instance_number, patient, name)
    _describe_patient_and_study(ds, labels, _BODY_PARTS[spec.region])
    _describe_image(ds, spec.region, spec.view, phantom.laterality, phantom.pixel_spacing_mm)
    return _encode(ds, phantom.pixels)


def chest_dicom(seed: int, *, study_uid: str, series_uid: str, sop_uid: str, size_px: int = 1760) -> bytes:
    """The chest-like picture as DICOM."""
    ds = Dataset()
    labels = Labels(study_uid, series_uid, sop_uid, 1, f"PHANTOM-CHE{seed:05d}", "Phantom^Chest")
    _describe_patient_and_study(ds, labels, "CHEST")
    _describe_image(ds, "chest", "frontal", "U", _CHEST_SPACING_MM * 1760 / size_px)
    return _encode(ds, render_chest(seed, size_px, size_px))


def to_png(phantom: Phantom, bits: int = 8) -> bytes:
    """A phantom as grey PNG of 8 or 16 bits a pixel."""
    if bits not in (8, 16):
        raise ValueError(f"a grey PNG has 8 or 16 bits here, got {bits}")
    grey = (phantom.pixels >> 4).astype(np.uint8) if bits == 8 else phantom.pixels << 4
    return bytes(cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1])


def to_jpeg(phantom: Phantom, quality: int = 90) -> bytes:
    """A phantom as 8-bit grey JPEG."""
    grey = (phantom.pixels >> 4).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
