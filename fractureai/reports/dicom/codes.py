"""The codes results are written in: DICOM's own (PS3.16), SNOMED CT, UCUM. Each ``(value, scheme, meaning)``."""

from __future__ import annotations

from functools import lru_cache

from fractureai.domain.anatomy import finding_site
from fractureai.domain.study import Assessment
from fractureai.reports.dicom.encoding import Elements, elements

Code = tuple[str, str, str]

PRIVATE_SCHEME = "99FRACTUREAI"

IMAGING_MEASUREMENT_REPORT: Code = ("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS: Code = ("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP: Code = ("125007", "DCM", "Measurement Group")
QUALITATIVE_EVALUATIONS: Code = ("C0034375", "UMLS", "Qualitative Evaluations")
IMAGE_LIBRARY: Code = ("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP: Code = ("126200", "DCM", "Image Library Group")

LANGUAGE: Code = ("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH: Code = ("en", "RFC5646", "English")
OBSERVER_TYPE: Code = ("121005", "DCM", "Observer Type")
DEVICE: Code = ("121007", "DCM", "Device")
DEVICE_UID: Code = ("121012", "DCM", "Device Observer UID")
DEVICE_NAME: Code = ("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER: Code = ("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL: Code = ("121015", "DCM", "Device Observer Model Name")
PROCEDURE_REPORTED: Code = ("121058", "DCM", "Procedure reported")
PLAIN_RADIOGRAPHY: Code = ("168537006", "SCT", "Plain radiography")

MODALITY: Code = ("121139", "DCM", "Modality")
TARGET_REGION: Code = ("123014", "DCM", "Target Region")
IMAGE_LATERALITY: Code = ("111027", "DCM", "Image Laterality")
ORIENTATION_ROW: Code = ("111044", "DCM", "Patient Orientation Row")
ORIENTATION_COLUMN: Code = ("111043", "DCM", "Patient Orientation Column")

TRACKING_IDENTIFIER: Code = ("112039", "DCM", "Tracking Identifier")
TRACKING_UID: Code = ("112040", "DCM", "Tracking Unique Identifier")
FINDING: Code = ("121071", "DCM", "Finding")
FRACTURE: Code = ("125605004", "SCT", "Fracture of bone")
FINDING_SITE: Code = ("363698007", "SCT", "Finding Site")
LATERALITY: Code = ("272741003", "SCT", "Laterality")
ALGORITHM_NAME: Code = ("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION: Code = ("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS: Code = ("111002", "DCM", "Algorithm Parameters")
IMAGE_REGION: Code = ("111030", "DCM", "Image Region")
SOURCE_OF_MEASUREMENT: Code = ("121112", "DCM", "Source of Measurement")
PROBABILITY: Code = ("probability", PRIVATE_SCHEME, "Probability of fracture")
PERCENT: Code = ("%", "UCUM", "Percent")
COMMENT: Code = ("121106", "DCM", "Comment")
REASON: Code = ("reason", PRIVATE_SCHEME, "Reason for the assessment")

SOURCE_IMAGE: Code = ("121322", "DCM", "Source image for image processing operation")
PROCESSING_EQUIPMENT: Code = ("109102", "DCM", "Processing Equipment")

# Answers to FRACTURE as a question.
ASSESSMENTS: dict[Assessment, Code] = {
    Assessment.FRACTURE: ("260373001", "SCT", "Detected"),
    Assessment.SUSPECTED: ("415684004", "SCT", "Suspected"),
    Assessment.INCONCLUSIVE: ("373068000", "SCT", "Undetermined"),
    Assessment.NO_FRACTURE: ("260415000", "SCT", "Not detected"),
}
SIDES: dict[str, Code] = {
    "L": ("7771000", "SCT", "Left"),
    "R": ("24028007", "SCT", "Right"),
    "B": ("51440002", "SCT", "Right and left"),
    "U": ("66459002", "SCT", "Unilateral"),
}


def site(region: str, body_part_examined: str) -> Code:
    """The finding site of an image; a code of our own for a region the table of anatomy does not know."""
    part = finding_site(region, body_part_examined)
    return (part.code, "SCT", part.meaning) if part else (region[:16], PRIVATE_SCHEME, region[:64])


@lru_cache(maxsize=512)
def code(concept: Code) -> Elements:
    """A code as the item of a sequence."""
    value, scheme, meaning = concept
    return elements(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def scheme() -> Elements:
    """The item that says whose the private codes are."""
    return elements(
        CodingSchemeDesignator=PRIVATE_SCHEME,
        CodingSchemeName="FractureAI codes",
        CodingSchemeResponsibleOrganization="FractureAI",
    )
