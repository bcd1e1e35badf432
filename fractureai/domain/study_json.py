"""``study.json`` and ``batch.json``: what was accepted, beside its bytes, so that a lost ledger can be made anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fractureai.domain.study import Batch, Grouping, SourceImage, Study, Upload


def study_to_json(study: Study) -> dict[str, Any]:
    """The whole of ``study.json``."""
    return {
        "site": study.site,
        "study_id": study.study_id,
        "batch_id": study.batch_id,
        "label": study.label,
        "accepted_at_s": study.accepted_at_s,
        "images": [_image_to_json(image) for image in study.images],
    }


def study_from_json(data: Mapping[str, Any]) -> Study:
    """Read what :func:`study_to_json` wrote. Raises ``ValueError``, also for what it can never have written."""
    try:
        return Study(
            site=data["site"],
            study_id=data["study_id"],
            batch_id=data["batch_id"],
            label=data["label"],
            accepted_at_s=float(data["accepted_at_s"]),
            images=tuple(_image(image) for image in data["images"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a study.json: {error}") from error


def batch_to_json(batch: Batch) -> dict[str, Any]:
    """The whole of ``batch.json``."""
    return {
        "site": batch.site,
        "batch_id": batch.batch_id,
        "label": batch.label,
        "accepted_at_s": batch.accepted_at_s,
        "uploads": [_file_to_json(upload) for upload in batch.uploads],
        "grouping": batch.grouping.value,
        "pattern": batch.pattern,
    }


def batch_from_json(data: Mapping[str, Any]) -> Batch:
    """Read what :func:`batch_to_json` wrote. Raises ``ValueError``, also for what it can never have written."""
    try:
        return Batch(
            site=data["site"],
            batch_id=data["batch_id"],
            label=data["label"],
            accepted_at_s=float(data["accepted_at_s"]),
            uploads=tuple(Upload(*_file(upload)) for upload in data["uploads"]),
            grouping=Grouping(data.get("grouping", Grouping.FILE)),
            pattern=str(data.get("pattern", "")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a batch.json: {error}") from error


def _image_to_json(image: SourceImage) -> dict[str, Any]:
    return {**_file_to_json(image), "sop_id": image.sop_id, "examination_id": image.examination_id}


def _image(data: Mapping[str, Any]) -> SourceImage:
    return SourceImage(*_file(data), data.get("sop_id", ""), data.get("examination_id", ""))


def _file_to_json(file: SourceImage | Upload) -> dict[str, Any]:
    return {"number": file.number, "file_name": file.file_name, "size_bytes": file.size_bytes, "sha256": file.sha256}


def _file(data: Mapping[str, Any]) -> tuple[int, str, int, str]:
    return data["number"], data["file_name"], data["size_bytes"], data["sha256"]
