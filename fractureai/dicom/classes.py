"""What the listener takes: radiographs in any encoding that the standard has for images. Other objects are refused when
the association is made.
"""

from __future__ import annotations

from pydicom.uid import (
    AllTransferSyntaxes,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    XRayRadiofluoroscopicImageStorage,
)
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification

STORAGE_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    XRayRadiofluoroscopicImageStorage,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
"""CR, DX, fluoroscopy, and secondary captures of them."""

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
# What pydicom does not list: JPEG XL, frames deflated each by itself, and the processes of JPEG that were retired.
_OTHERS = (
    ENCAPSULATED_UNCOMPRESSED,
    *(f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112, 201, 202, 203)),
    "1.2.840.10008.1.2.8.1",
    *(f"1.2.840.10008.1.2.4.{number}" for number in (52, 53, 54, 55, 56, *range(58, 67))),
)
TRANSFER_SYNTAXES = tuple(dict.fromkeys([*(str(uid) for uid in AllTransferSyntaxes), *_OTHERS]))
"""Every one of the standard, in the sender's order: what cannot be decoded is a reason in the study's result, not a
lost image.
"""


def contexts() -> list[PresentationContext]:
    """The presentation contexts of the listener."""
    return [build_context(Verification), *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_CLASSES)]
