"""The words and colours a person reads an outcome by. One table each; templates look up, they do not decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fractureai.domain.dicom_objects import DicomKind
from fractureai.domain.reasons import WARNINGS, Reason
from fractureai.domain.records import StudyRow
from fractureai.domain.study import Assessment, Stage, WorkState


@dataclass(frozen=True, slots=True)
class Word:
    """How something is called, what it means, and which badge it gets (colour and icon of the style sheet)."""

    badge: str
    name: str
    meaning: str


ASSESSMENTS: Mapping[Assessment, Word] = {
    Assessment.FRACTURE: Word(
        "fracture",
        "Fracture likely",
        "In at least one view the probability reaches the upper threshold. Look at this study first.",
    ),
    Assessment.SUSPECTED: Word(
        "suspected",
        "Fracture suspected",
        "In at least one view the probability lies between the two thresholds. Look closely; think of further views.",
    ),
    Assessment.INCONCLUSIVE: Word(
        "inconclusive",
        "Not assessed",
        "The system could not assess this study, or not all of it. Read it as if it had never been here.",
    ),
    Assessment.NO_FRACTURE: Word(
        "none",
        "No fracture found",
        "In every view the probability stays below the lower threshold. A fracture can still be there: the threshold "
        "is set so that few are missed, not none.",
    ),
}

SET_ASIDE = Word("inconclusive", "Set aside", "Another image of this study was assessed instead of this one.")

IMAGE_MEANINGS: Mapping[Assessment, str] = {
    Assessment.FRACTURE: "The probability is at or above the upper threshold.",
    Assessment.SUSPECTED: "The probability lies between the two thresholds.",
    Assessment.INCONCLUSIVE: "This view was not assessed.",
    Assessment.NO_FRACTURE: "The probability is below the lower threshold.",
}

DICOM_KINDS: Mapping[str, str] = {
    DicomKind.SR: "Structured report",
    DicomKind.SUMMARY: "Summary page",
    DicomKind.OVERLAY: "Picture with attention and region",
    DicomKind.GSPS: "Region on the original (presentation state)",
    DicomKind.PDF: "Report as PDF",
}

STATES: Mapping[WorkState, Word] = {
    WorkState.OPEN: Word("open", "In progress", "The work on this study is not finished yet."),
    WorkState.DONE: Word("done", "Done", "The study was read."),
    WorkState.REJECTED: Word(
        "rejected", "Could not be read", "Nothing in this study could be read. The reason says what to send instead."
    ),
    WorkState.FAILED: Word(
        "failed", "Failed", "The fault is ours, not the file's. Nothing is lost: the study can be tried again."
    ),
}

STAGES: Mapping[Stage, Word] = {
    Stage.CLASSIFY: Word(
        "classify", "Recognise the region", "Reads the pixels and tells which part of the body it is."
    ),
    Stage.DETECT: Word("detect", "Look for a fracture", "The model of that region gives a probability."),
    Stage.EXPLAIN: Word("explain", "Show the attention", "Draws what the model looked at onto the image."),
    Stage.REPORT: Word("report", "Write the report", "Puts everything into a PDF and a JSON document."),
}


EVENTS: Mapping[str, str] = {
    "requested": "Sent in the request",
    "accepted": "Received and kept",
    "classify": "Region recognised",
    "detect": "Looked for a fracture",
    "explain": "Attention drawn",
    "done": "Report written",
    "rejected": "Could not be read",
    "failed": "Given up",
    "retried": "Did not work; tried again later",
    "reopened": "Opened again by a person",
    "restored": "Made anew",
    "verdict": "A reader’s word",
    "sent": "Results sent",
    "not sent": "Results not sent; given up",
    "superseded": "Results not sent; there is a newer revision",
}


def happened(what: str) -> str:
    """A line of a study's history."""
    return EVENTS.get(what, spoken(what).capitalize())


def verdict(row: StudyRow) -> Word:
    """What a list shows of a study: its assessment if it was read, else where the work stands."""
    if row.state is WorkState.DONE and row.assessment is not None:
        return ASSESSMENTS[row.assessment]
    return STATES[row.state]


def of_image(image: Mapping[str, Any]) -> Word:
    """What is shown of an image of ``result.json``."""
    return SET_ASIDE if image.get("set_aside") else ASSESSMENTS[image["assessment"]]


def warnings(row: StudyRow) -> list[Reason]:
    """What must be settled before any part of the result is used."""
    return [reason for reason in row.reasons if reason.code in WARNINGS]


def why(row: StudyRow) -> list[Reason]:
    """The other reasons worth showing at the study.

    That a view lies between the thresholds is what "suspected" means, and no reason where another lies above them.
    """
    return [reason for reason in row.reasons if reason.code != "near_threshold" and reason.code not in WARNINGS]


def why_in_brief(row: StudyRow) -> Reason | None:
    """The one reason a list has room for beside the warnings."""
    if row.state is WorkState.OPEN:
        return None
    return next((reason for reason in row.reasons if reason.code == "views_not_assessed"), next(iter(why(row)), None))


def steps(row: StudyRow) -> list[tuple[Word, str]]:
    """The stages with ``done``, ``current`` or ``waiting``."""
    stages = list(Stage)
    at = stages.index(row.stage) if row.stage in stages else 0
    if row.state is not WorkState.OPEN:
        at = len(stages)
    marks = ["done" if index < at else "current" if index == at else "waiting" for index in range(len(stages))]
    return [(STAGES[stage], mark) for stage, mark in zip(stages, marks, strict=True)]


def study_name(row: StudyRow) -> str:
    """What a person calls the study: the sender's label, else the start of its id."""
    return row.label or f"Study {row.study_id[:8]}"


def percent(value: float | None) -> str:
    """A probability for people; never 0 % or 100 %, which no model can claim."""
    if value is None:
        return "–"
    if value < 0.01:
        return "< 1 %"
    if value > 0.99:
        return "> 99 %"
    return f"{value:.0%}".replace("%", " %")


def is_calibrated_here(models: Mapping[str, Any]) -> bool:
    """Whether this site has set the thresholds of all its models on images of its own (``models calibrate``)."""
    return all("+site." in model["version"] for model in models.values() if model["name"] != "region")


def boxes(image: Mapping[str, Any]) -> list[list[int]]:
    """What is marked on an image of ``result.json``, as in ``ImageResult.boxes_px``."""
    found = [finding["box_px"] for finding in image.get("findings", ())]
    return found or ([image["roi_px"]] if image["roi_px"] else [])


def place(box_px: Sequence[int], source_px: Sequence[int]) -> str:
    """Where the middle of a box is on its picture: ``upper left``."""
    x, y = (box_px[0] + box_px[2]) / 2 / source_px[0], (box_px[1] + box_px[3]) / 2 / source_px[1]
    row, column = ("upper", "middle", "lower")[min(2, int(y * 3))], ("left", "centre", "right")[min(2, int(x * 3))]
    return "in the middle" if (row, column) == ("middle", "centre") else f"{row} {column}"


def clock_time(seconds: float) -> str:
    """Seconds since the epoch for people, in UTC; a script turns it into the reader's own time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def figure(value: Any) -> str:
    """A value from a card's free-form part, as it should stand in a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\N{THIN SPACE}")
    return str(value)


def spoken(key: str) -> str:
    """A key from a card as a heading: ``false_alarms`` becomes ``false alarms``."""
    return key.replace("_", " ")
