"""The ``DicomResultWriter`` port: everything of a study as DICOM objects in the study its images came in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fractureai.domain.dicom_objects import DicomKind, DicomObject
from fractureai.domain.ports import ReportImage
from fractureai.domain.reasons import Reason
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Study
from fractureai.reports.content import ReportText, compose
from fractureai.reports.dicom.capture import secondary_capture
from fractureai.reports.dicom.document import encapsulated_pdf
from fractureai.reports.dicom.modules import Frame
from fractureai.reports.dicom.pictures import notice_capture, overlay_capture, summary_capture
from fractureai.reports.dicom.presentation import presentation_state
from fractureai.reports.dicom.source import source_study
from fractureai.reports.dicom.structured import structured_report


class StudyDicomWriter:
    """Implements :class:`fractureai.domain.ports.DicomResultWriter`."""

    def write(
        self, study: Study, result: StudyResult, images: Sequence[ReportImage], report_pdf: bytes
    ) -> list[tuple[DicomObject, bytes]] | Reason:
        """See :meth:`fractureai.domain.ports.DicomResultWriter.write`.

        Images that did not come as DICOM, among others that did, are in the pictures and the report, and in the SR
        without a reference; so are images whose SOP Instance UID another picture has too. Where the files name
        different patients there is one picture, which says so.
        """
        source = source_study(images)
        if isinstance(source, Reason):
            return source
        frame = Frame(study, result, source)
        text = compose(study, result, [image.header for image in images])
        if result.warnings:
            # A finding in the record of one patient that is of another would do harm; that there is none must be seen.
            return [secondary_capture(frame, DicomKind.SUMMARY, notice_capture(text))]
        return list(_objects(frame, text, images, report_pdf))


def _objects(
    frame: Frame, text: ReportText, images: Sequence[ReportImage], report_pdf: bytes
) -> Iterator[tuple[DicomObject, bytes]]:
    yield structured_report(frame)
    yield secondary_capture(frame, DicomKind.SUMMARY, summary_capture(text, images))
    for image, view in zip(images, text.views, strict=True):
        number = image.result.number
        capture = overlay_capture(image, view)
        if capture is not None:
            yield secondary_capture(frame, DicomKind.OVERLAY, capture, number)
        source = frame.source.image(number)
        is_marked = source is not None and source.is_citable
        state = presentation_state(frame, image.result, source) if source is not None and is_marked else None
        if state is not None:
            yield state
    yield encapsulated_pdf(frame, report_pdf)
