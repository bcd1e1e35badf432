"""Secondary Captures (PS3.3 section A.8.1): pictures that every archive and viewer can show."""

from __future__ import annotations

from pydicom.uid import JPEGBaseline8Bit

from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.reports.dicom.codes import SOURCE_IMAGE, code
from fractureai.reports.dicom.encoding import Elements, elements, frame, joined, part_10
from fractureai.reports.dicom.modules import MODEL_NAME, Frame, text
from fractureai.reports.dicom.pictures import Capture
from fractureai.reports.wording import PRODUCT

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DERIVATION = "Result of FractureAI, not for diagnostic use; reduced and compressed copy with annotations"


def secondary_capture(
    of: Frame, kind: DicomKind, capture: Capture, number: int | None = None
) -> tuple[DicomObject, bytes]:
    """A picture as an object of the source's study; ``number`` is the image it shows."""
    what = of.object_of(kind, SECONDARY_CAPTURE, number)
    image = elements(
        ConversionType="WSD",
        SecondaryCaptureDeviceManufacturer=PRODUCT,
        SecondaryCaptureDeviceManufacturerModelName=MODEL_NAME,
        SecondaryCaptureDeviceSoftwareVersions=text(of.result.software_version),
        DateOfSecondaryCapture=of.date,
        TimeOfSecondaryCapture=of.time,
        ImageType=["DERIVED", "SECONDARY"],
        DerivationDescription=_DERIVATION,
        BurnedInAnnotation="NO",
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        Rows=capture.height_px,
        Columns=capture.width_px,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        LossyImageCompression="01",
        LossyImageCompressionRatio=f"{3 * capture.width_px * capture.height_px / len(capture.jpeg):.2f}",
        LossyImageCompressionMethod="ISO_10918_1",
        PatientOrientation=None,
    )
    whole = joined(*of.common(what, "OT"), image, _sources(of, number), frame(capture.jpeg))
    return what, part_10(whole, what.sop_class_uid, what.sop_instance_uid, JPEGBaseline8Bit)


def _sources(of: Frame, number: int | None) -> Elements:
    """The image shown, or all."""
    shown = [image for image in of.source.citable if number in (None, image.number)]
    if not shown:
        return {}
    purpose = elements(PurposeOfReferenceCodeSequence=[code(SOURCE_IMAGE)])
    return elements(SourceImageSequence=[image.reference | purpose for image in shown])
