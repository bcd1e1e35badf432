"""One table of every reason an outcome can carry: a code for machines, a sentence for people.

A sentence says what was found and what to do about it. It is shown on pages, in the PDF, in JSON and on the
command line, so it never holds patient data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_TABLE: dict[str, str] = {
    # The file itself.
    "file_unreadable": "The file could not be opened. Check that it is there and that you may read it.",
    "empty_file": "The file is empty. Send it again; the transfer may have been cut off.",
    "unknown_type": "This is not a DICOM, PNG, JPEG, TIFF or WebP image. Export the radiograph as one of these.",
    "damaged": "The file is damaged or incomplete and cannot be read. Export and send it again.",
    "too_many_bytes": "The file is larger than this service accepts. Send one image per file.",
    "too_many_pixels": "The image has more pixels than this service accepts. Export it at a lower resolution.",
    "too_small": "The image is too small to read a bone on. Send the original radiograph, not a thumbnail.",
    "multi_frame": "The file holds several frames or an animation. Send single radiographs.",
    "no_pixels": "The DICOM file holds no image. Send the image objects of the study.",
    "not_a_radiograph": "This is not a plain radiograph. Send CR or DX images of a limb.",
    "dicom_directory": "This is the index of a DICOM medium, not an image; the images are read by themselves.",
    "own_result": "This is a result of this system, not a radiograph. Send the original images only.",
    "colour_image": "The picture is in colour; radiographs are greyscale. Send the original radiograph.",
    "blank_image": "The image shows nothing: all its pixels are nearly the same. Check the export.",
    "under_exposed": "The image has too few grey levels to show bone. Check the exposure, or export it with its full "
    "grey scale.",
    "header_mismatch": "The DICOM header and the picture contradict each other. Export the image again.",
    "unsupported_encoding": "The pixels are stored in a way this service cannot decode. Export without compression.",
    "decoder_timeout": "The file took too long to decode and was given up. Export and send it again.",
    "decoder_memory": "Decoding the file needed more memory than is allowed. Export it at a lower resolution.",
    "decoder_crashed": "The file made the image decoder stop. It is probably damaged; export and send it again.",
    # Archives and batches.
    "archive_encrypted": "The archive is protected by a password. Send it without.",
    "archive_too_many": "The archive has more members than this service accepts. Split it.",
    "archive_too_large": "The archive unpacks to more than this service accepts. Split it.",
    "archive_nested": "An archive inside an archive is not opened. Unpack the inner one and send its files.",
    "archive_member_skipped": "This archive member was not read. Pack plain files, not too many folders deep.",
    "not_an_image": "This is not an image and was skipped.",
    "duplicate_file": "The same file is in this batch already. It is read once.",
    "no_images": "There was nothing to read: not one image among what was sent.",
    "too_many_files": "There are more files in one request than this service accepts. Send several requests.",
    # The assessment.
    "out_of_scope": "The picture does not look like the limb radiographs this system knows. It was not assessed.",
    "unsure_region": "The region of the body could not be told with enough certainty. It was not assessed.",
    "no_model_for_region": "There is no fracture model for this region. It was not assessed.",
    "body_part_mismatch": "The body part in the DICOM header is not the region seen in the picture. Check the header.",
    "body_part_out_of_scope": "The DICOM header names a part of the body that this system does not read.",
    "views_not_assessed": "Not every view of the study could be assessed; read those views without this system.",
    "models_disagree": "The readings of this image vary too much to call it normal.",
    "near_threshold": "The probability lies between the two thresholds: neither a clear finding nor a clear absence.",
    # Which patient, instance and exposure the files name.
    "patient_conflict": "Do not use this result before it is clear whose images these are: the files name different "
    "patients.",
    "accession_conflict": "The files name different accession numbers. Check which order each image belongs to.",
    "sop_instance_uid_shared": "Check the sending device: different images have the same SOP Instance UID. Each was "
    "assessed.",
    "sop_instance_uid_elsewhere": "Check which study this image belongs to: another study has a different one with the "
    "same SOP Instance UID.",
    "image_revised": "Compare the earlier image: a different one with the same SOP Instance UID was processed for this "
    "DICOM study.",
    "image_superseded": "A later file with the same SOP Instance UID was assessed instead of this one.",
    "raw_image": "This is the unprocessed image of an exposure (FOR PROCESSING). Its processed image was assessed "
    "instead.",
    # What is said beside an assessment.
    "text_guessed": "The DICOM header's text is not in the character set it names. Check the patient's name.",
    "text_undecoded": "Part of the header's text could not be decoded (shown as \ufffd). Check the patient's name and "
    "the sender's character set.",
    # Why there are no DICOM results.
    "no_dicom_source": "The images did not come as DICOM of a study, so no results can be filed into one. Use the PDF.",
    "dicom_conflict": "The DICOM files are of different DICOM studies, so no results are filed into either.",
    "dicom_failed": "The DICOM results could not be written; the report is not affected. An operator finds the error "
    "in the log by the study's id.",
    # Our own failures.
    "attempts_exhausted": "The analysis did not finish in three attempts. An operator can look at it and retry.",
    "outage_too_long": "Something the analysis needs was away for a day. An operator can look at it and retry.",
    "store_unavailable": "The image store could not be reached.",
    "store_full": "The image store is full. An operator has to make room; nothing was accepted.",
    "ledger_unavailable": "The database could not be reached.",
    "queue_unavailable": "The queue could not be reached; the work is remembered and starts when it is back.",
    "receiver_unavailable": "Whoever is to be told of finished studies did not take the message.",
    "receiver_refused": "Whoever is to have the results does not take them, and will not if they are sent again.",
    "server_unreachable": "The service could not be reached or is busy. Nothing was lost; try again.",
    "refused_by_server": "The service refused the request.",
    "artifact_missing": "A file this stage needs is missing from the store.",
    "broken_deployment": "The installation lacks something, such as a model. When an operator has mended it, retry.",
    "internal_error": "The analysis met an unexpected error. An operator can find it in the log by the study's id.",
}

REASONS: Mapping[str, str] = MappingProxyType(_TABLE)

WARNINGS = frozenset({"patient_conflict"})
"""What must be settled before any part of a result is used; every output shows it first, apart from other reasons."""

REMARKS = frozenset(
    {
        "accession_conflict",
        "sop_instance_uid_shared",
        "sop_instance_uid_elsewhere",
        "image_revised",
        "image_superseded",
        "raw_image",
    }
)
"""What a reader should know of the files, and what takes nothing from the assessment of their pictures."""

AMBIGUOUS_UIDS = frozenset({"sop_instance_uid_shared", "sop_instance_uid_elsewhere", "image_revised"})
"""Where an archive may have another picture under the image's SOP Instance UID, so that nothing may point to it."""

CONFLICTS = WARNINGS | AMBIGUOUS_UIDS | {"accession_conflict"}
"""What is written into the audit."""
TEXT_NOTES = frozenset({"text_guessed", "text_undecoded"})
"""What a header's text may carry; no word on the picture."""

OUTAGES = frozenset({"store_unavailable", "store_full", "ledger_unavailable", "queue_unavailable"})
"""What is away and comes back: no fault of a study that met it, however often."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something came out as it did: a code of :data:`REASONS` and the particular of the case."""

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.code not in REASONS:
            raise ValueError(f"unknown reason code {self.code!r}; add it to REASONS")

    @property
    def sentence(self) -> str:
        """The reason in words for a person."""
        sentence = REASONS[self.code]
        return f"{sentence.removesuffix('.')} ({self.detail})." if self.detail else sentence

    def to_json(self) -> dict[str, str]:
        """``code``, ``detail`` and the full ``sentence``."""
        return {"code": self.code, "detail": self.detail, "sentence": self.sentence}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Reason:
        """Read what :meth:`to_json` wrote."""
        return cls(data["code"], data.get("detail", ""))
