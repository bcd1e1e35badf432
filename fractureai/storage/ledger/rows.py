"""From rows to values and back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from fractureai.domain.reasons import Reason
from fractureai.domain.records import Priority, StudyRow, WorklistOrder
from fractureai.domain.search import words_of
from fractureai.domain.study import (
    Assessment,
    Batch,
    Grouping,
    SourceImage,
    Stage,
    Study,
    Upload,
    WorkState,
    check_id,
)
from fractureai.storage.ledger.schema import IMAGES


def reasons_text(reasons: Sequence[Reason]) -> str:
    """Reasons as the text of one column."""
    return json.dumps([[reason.code, reason.detail] for reason in reasons], separators=(",", ":"))


def reasons_of(text: str) -> tuple[Reason, ...]:
    """Read what :func:`reasons_text` wrote."""
    return () if text == "[]" else tuple(Reason(code, detail) for code, detail in json.loads(text))


def study_values(
    study: Study, *, publish_due_at_s: float, priority: Priority = Priority.WALK_IN, turn: int | None = None
) -> dict[str, Any]:
    """A new row of ``studies``, open at the first stage. Without a ``turn`` its time of arrival decides, in ms."""
    return {
        "priority": priority.value,
        "turn": int(study.accepted_at_s * 1000) if turn is None else turn,
        "study_id": study.study_id,
        "site": study.site,
        "batch_id": study.batch_id,
        "label": study.label,
        "state": WorkState.OPEN.value,
        "stage": Stage.CLASSIFY.value,
        "image_count": len(study.images),
        "accepted_at_s": study.accepted_at_s,
        "updated_at_s": study.accepted_at_s,
        "attempts": 0,
        "publish_due_at_s": publish_due_at_s,
        "reasons": "[]",
    }


def image_values(study: Study) -> list[dict[str, Any]]:
    """The rows of ``images`` of a study."""
    return [
        {
            "study_id": study.study_id,
            **file_values(image),
            "sop_id": image.sop_id or None,
            "examination_id": image.examination_id or None,
        }
        for image in study.images
    ]


def batch_values(batch: Batch, state: WorkState, *, publish_due_at_s: float) -> dict[str, Any]:
    """A new row of ``batches``."""
    return {
        "batch_id": batch.batch_id,
        "site": batch.site,
        "label": batch.label,
        "state": state.value,
        "accepted_at_s": batch.accepted_at_s,
        "upload_count": len(batch.uploads),
        "reasons": "[]",
        "attempts": 0,
        "publish_due_at_s": publish_due_at_s,
        "updated_at_s": batch.accepted_at_s,
        "uploads_kept": 1 if batch.uploads else 0,
        "grouping": batch.grouping.value,
    }


def upload_values(batch: Batch) -> list[dict[str, Any]]:
    """The rows of ``uploads`` of a batch."""
    return [{"batch_id": batch.batch_id, **file_values(upload)} for upload in batch.uploads]


def rejection_values(batch_id: str, rejected: Iterable[tuple[str, Reason]]) -> list[dict[str, Any]]:
    """The rows of ``rejections`` of a batch."""
    return [
        {"batch_id": batch_id, "number": number, "file_name": name, "code": reason.code, "detail": reason.detail}
        for number, (name, reason) in enumerate(rejected, start=1)
    ]


def word_values(study: Study) -> list[dict[str, Any]]:
    """The rows of ``study_words`` of a study: what a text search finds it by."""
    words = words_of([study.study_id, study.label, *(image.file_name for image in study.images)])
    return [{"study_id": study.study_id, "word": word, "site": study.site} for word in words]


def suspicion_of(assessment: Assessment | None, probability: float | None) -> float:
    """The place in the order of suspicion: a band of its own for each assessment, the probability within it."""
    if assessment is None:
        return 0.0
    return _band(assessment) + (probability or 0.0)


SORT_KEYS: Mapping[WorklistOrder, Callable[[StudyRow], tuple[float | str, ...]]] = {
    WorklistOrder.NEWEST: lambda row: (row.accepted_at_s, row.study_id),
    WorklistOrder.MOST_SUSPICIOUS: lambda row: (
        suspicion_of(row.assessment, row.max_fracture_probability),
        row.accepted_at_s,
        row.study_id,
    ),
}
"""What the two orders of the worklist sort by, the highest first."""


def suspicion_range(assessment: Assessment) -> tuple[float, float]:
    """The lowest and the highest place of an assessment."""
    return _band(assessment), _band(assessment) + 1.0


SOURCE_COLUMNS = tuple(IMAGES.c[field.name] for field in dataclasses.fields(SourceImage))
"""What is read of ``images`` to make a study of it."""


def study_of(row: Row[*tuple[Any, ...]], files: Iterable[Row[*tuple[Any, ...]]]) -> Study:
    """A study with its images, from columns named as its fields."""
    images = tuple(SourceImage(*(("" if value is None else value) for value in file)) for file in files)
    # RETURNING on SQLite gives a whole number of seconds as an int.
    return Study(row.site, row.study_id, row.batch_id, row.label, float(row.accepted_at_s), images)


def batch_of(row: Row[*tuple[Any, ...]], files: Iterable[Row[int, str, int, str]]) -> Batch:
    """A batch with its uploads."""
    uploads = tuple(Upload(*file) for file in files)
    return Batch(row.site, row.batch_id, row.label, float(row.accepted_at_s), uploads, Grouping(row.grouping))


def study_row_of(row: Row[*tuple[Any, ...]]) -> StudyRow:
    """A line of the worklist; ``row`` has at least the columns of :class:`StudyRow`."""
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(StudyRow)}
    values["state"] = WorkState(row.state)
    values["stage"] = None if row.stage is None else Stage(row.stage)
    values["assessment"] = None if row.assessment is None else Assessment(row.assessment)
    values["reasons"] = reasons_of(row.reasons)
    return StudyRow(**values)


def cursor_of(row: StudyRow, order: WorklistOrder) -> str:
    """Where a page ended: every part of the order, so that equals neither repeat nor skip a study."""
    return "_".join(str(part) for part in SORT_KEYS[order](row))


def position_of(cursor: str, order: WorklistOrder) -> tuple[float | str, ...]:
    """Read what :func:`cursor_of` wrote. Raises ``ValueError`` if it is no cursor of ours, or of the other order."""
    *numbers, study_id = cursor.split("_")
    if len(numbers) != (1 if order is WorklistOrder.NEWEST else 2):
        raise ValueError(f"not a cursor of this order: {cursor!r}")
    values = [float(number) for number in numbers]
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"not a cursor: {cursor!r}")
    return (*values, check_id(study_id))


def _band(assessment: Assessment) -> float:
    return 2.0 * (len(Assessment) - assessment.urgency)


def file_values(file: SourceImage | Upload) -> dict[str, Any]:
    """The columns that say what a file is."""
    return {"number": file.number, "file_name": file.file_name, "size_bytes": file.size_bytes, "sha256": file.sha256}
