"""What the listener takes: radiographs in any encoding. Other objects are refused when the association is made."""

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

# Of HTJ2K pydicom knows the names but does not list them; the order is the sender's, not ours.
_HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
TRANSFER_SYNTAXES = tuple(dict.fromkeys([*(str(uid) for uid in AllTransferSyntaxes), *_HTJ2K]))
"""Everything: what cannot be decoded is a reason in the study's result, not a lost image."""


def contexts() -> list[PresentationContext]:
    """The presentation contexts of the listener."""
    return [build_context(Verification), *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_CLASSES)]
