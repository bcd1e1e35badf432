"""The report as Encapsulated PDF (PS3.3 section A.45.1)."""

from __future__ import annotations

from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.reports.dicom.codes import IMAGING_MEASUREMENT_REPORT, code
from fractureai.reports.dicom.encoding import binary, elements, joined, part_10
from fractureai.reports.dicom.modules import Frame
from fractureai.reports.wording import NOT_FOR_DIAGNOSIS, TITLE

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def encapsulated_pdf(frame: Frame, pdf: bytes) -> tuple[DicomObject, bytes]:
    """The PDF, byte for byte, as an object of the source's study."""
    what = frame.object_of(DicomKind.PDF, ENCAPSULATED_PDF)
    document = elements(
        ConversionType="WSD",
        BurnedInAnnotation="YES",
        AcquisitionDateTime=None,
        DocumentTitle=f"{TITLE}. {NOT_FOR_DIAGNOSIS}",
        VerificationFlag="UNVERIFIED",
        ConceptNameCodeSequence=[code(IMAGING_MEASUREMENT_REPORT)],
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocumentLength=len(pdf),
    )
    if frame.source.citable:
        document |= elements(SourceInstanceSequence=[image.reference for image in frame.source.citable])
    whole = joined(*frame.common(what, "DOC"), document, binary("EncapsulatedDocument", pdf))
    return what, part_10(whole, what.sop_class_uid, what.sop_instance_uid)
