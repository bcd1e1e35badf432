"""The shapes of the API's JSON, as JSON Schema 2020-12."""

from __future__ import annotations

from typing import Any

from fractureai.domain.dicom_objects import DicomKind
from fractureai.domain.records import Agreement, Channel, ObjectState
from fractureai.domain.study import Assessment, Grouping, Stage, WorkState
from fractureai.web.openapi_parts import GROUPING_TEXT, MAX_PATTERN_LENGTH, PATTERN_TEXT

Schema = dict[str, Any]


def _text(description: str = "") -> Schema:
    return {"type": "string"} | ({"description": description} if description else {})


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_BOX: Schema = {"type": "array", "items": _COUNT, "minItems": 4, "maxItems": 4}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_STATE: Schema = {"type": "string", "enum": [state.value for state in WorkState]}
_ASSESSMENT: Schema = {"type": "string", "enum": [assessment.value for assessment in Assessment]}
_DICOM_KIND: Schema = {"type": "string", "enum": [kind.value for kind in DicomKind]}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}

_SUMMARY: Schema = {
    "study_id": _ID,
    "batch_id": _ID,
    "label": _text(),
    "state": _STATE,
    "stage": _maybe({"type": "string", "enum": [stage.value for stage in Stage]}),
    "attempts": _COUNT,
    "image_count": _COUNT,
    "accepted_at": _MOMENT,
    "updated_at": _MOMENT,
    "finished_at": _maybe(_MOMENT),
    "assessment": _maybe(_ASSESSMENT),
    "region": _maybe(_text()),
    "max_fracture_probability": _maybe(_PROBABILITY),
    "reasons": _list(_ref("Reason")),
    "status_url": _text(),
    "page_url": _text(),
}
_PICTURES: Schema = {name: _maybe(_text()) for name in ("image", "heat", "overlay", "roi")}
_ARTIFACTS: Schema = _object(
    {
        "report_pdf": _maybe(_text()),
        "result_json": _text(),
        "dicom": _list(_object({"name": _text(), "kind": _DICOM_KIND, "number": _maybe(_COUNT), "url": _text()})),
        "dicom_zip": _maybe(_text("All DICOM results in one archive.")),
        "images": _list(_object({"number": _COUNT, **_PICTURES})),
    }
)
_BATCH_ACCEPTED: Schema = {"batch_id": _ID, "upload_count": _COUNT, "status_url": _text(), "page_url": _text()}

_RECEIPT: Schema = {"number": _COUNT, "file": _text(), "size_bytes": _COUNT, "sha256": _SHA256, "receipt": _text()}
_AGREEMENT: Schema = {"type": "string", "enum": [agreement.value for agreement in Agreement]}

SCHEMAS: dict[str, Schema] = {
    "Problem": _object(
        {
            "type": _text(),
            "title": _text(),
            "status": {"type": "integer"},
            "detail": _text("A sentence for a person."),
            "code": _text("Stable; for machines."),
            "file": _text("The file concerned, where it is one."),
        },
        optional=("file",),
    ),
    "Reason": _object({"code": _text(), "detail": _text(), "sentence": _text()}),
    "StudyAccepted": _object(
        {
            "study_id": _ID,
            "batch_id": _ID,
            "state": _STATE,
            "image_count": _COUNT,
            "status_url": _text(),
            "page_url": _text(),
        }
    ),
    "StudySummary": _object(_SUMMARY),
    "Revision": _object({"number": _COUNT, "supersedes": _maybe(_ID), "superseded_by": _maybe(_ID)}),
    "Study": _object(
        {
            **_SUMMARY,
            "revision": _maybe(_ref("Revision")),
            "result": _maybe(_ref("Result")),
            "artifacts": _maybe(_ARTIFACTS),
        }
    ),
    "StudyPage": _object(
        {"studies": _list(_ref("StudySummary")), "next_cursor": _maybe(_text()), "next": _maybe(_text())}
    ),
    "Result": _object(
        {
            "study_id": _ID,
            "label": _text(),
            "state": _STATE,
            "assessment": _ASSESSMENT,
            "reasons": _list(_ref("Reason")),
            "region": _maybe(_text()),
            "mean_fracture_probability": _maybe(_PROBABILITY),
            "max_fracture_probability": _maybe(_PROBABILITY),
            "images": _list(_ref("ImageResult")),
            "models": {"type": "object", "additionalProperties": _ref("ModelIdentity")},
            "software_version": _text(),
            "dicom_objects": _list(_ref("DicomObject")),
            "no_dicom": _maybe(_ref("Reason")),
            "disclaimer": _text(),
        },
        optional=("dicom_objects", "no_dicom"),
    ),
    "DicomObject": _object(
        {
            "name": _text("Unique in its study; the last part of its address, before `.dcm`."),
            "kind": _DICOM_KIND,
            "number": _maybe(_COUNT),
            "sop_class_uid": _text(),
            "sop_instance_uid": _text(),
            "series_instance_uid": _text(),
            "study_instance_uid": _text(),
        }
    ),
    "ImageResult": _object(
        {
            "number": _COUNT,
            "file": _text(),
            "region": _maybe(_object({"name": _text(), "probability": _PROBABILITY})),
            "in_scope": {"type": "boolean"},
            "assessment": _ASSESSMENT,
            "reasons": _list(_ref("Reason")),
            "fracture_probability": _maybe(_PROBABILITY),
            "fracture_spread": _maybe({"type": "number"}),
            "thresholds": _maybe(_object({"suspected": _PROBABILITY, "fracture": _PROBABILITY})),
            "roi_px": _maybe(_BOX),
            "findings": {
                "description": "Places where a fracture is likely or suspected, most probable first.",
                **_list(_object({"box_px": _BOX, "probability": _PROBABILITY, "rank": _COUNT})),
            },
            "source_px": _maybe({"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2}),
            "shown_px": _maybe({"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2}),
            "model": _maybe(_text()),
            "artifacts": _list(_text()),
            "set_aside": {
                "type": "boolean",
                "description": "Another image of the study was assessed instead; the reason names it.",
            },
            "view": _maybe(
                _object(
                    {
                        "laterality": _text("L, R, B or U, of the DICOM header; empty where it is silent."),
                        "position": _text("AP, LL and the like."),
                        "orientation": _text("Patient Orientation of rows and columns, with a backslash between."),
                        "body_part": _text("Body Part Examined."),
                    }
                )
            ),
        },
        optional=("view", "set_aside", "findings"),
    ),
    "ModelIdentity": _object({"name": _text(), "version": _text(), "card_sha256": _SHA256}),
    "Models": _object(
        {
            "models": _list(
                _object({"name": _text(), "version": _text(), "card_sha256": _SHA256, "card": {"type": "object"}})
            )
        }
    ),
    "BatchAccepted": _object(_BATCH_ACCEPTED),
    "Batch": _object(
        {
            "batch_id": _ID,
            "label": _text(),
            "state": _STATE,
            "accepted_at": _MOMENT,
            "upload_count": _COUNT,
            "counts": _object({state.value: _COUNT for state in WorkState}),
            "rejected_uploads": _list(_object({"file": _text(), "reason": _ref("Reason")})),
            "skipped": _object(
                {
                    "count": _COUNT,
                    "kinds": _list(_object({"kind": _text(), "count": _COUNT})),
                    "sentence": _text("Files of folders and archives that are no images; empty if there are none."),
                }
            ),
            "reasons": _list(_ref("Reason")),
            "finished": {"type": "boolean"},
            "status_url": _text(),
            "studies_url": _text(),
            "exports": _object({name: _text() for name in ("results_csv", "results_ndjson", "reports_zip")}),
            "page_url": _text(),
        }
    ),
    "BatchRetried": _object({"reopened": _COUNT, "status_url": _text()}),
    "Upload": _object(
        {
            "batch_id": _ID,
            "token": _text("Send it as the header Upload-Token with every file."),
            "upload_url": _text("Tells which files have arrived."),
            "files_url": _text("Put each file to this address followed by its number, from 1."),
            "complete_url": _text(),
            "max_files": _COUNT,
            "max_file_bytes": _COUNT,
        }
    ),
    "Receipt": _object(_RECEIPT),
    "UploadState": _object(
        {
            "batch_id": _ID,
            "state": {"type": "string", "enum": ["open", "complete"]},
            "begun_at": _MOMENT,
            "files": _list(_ref("Receipt")),
            "upload_count": _COUNT,
            "status_url": _text(),
            "page_url": _text(),
        },
        optional=("upload_count", "status_url", "page_url"),
    ),
    "Completion": _object(
        {
            "receipts": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "label": {"type": "string", "maxLength": 200},
            "grouping": {
                "type": "string",
                "enum": [grouping.value for grouping in Grouping],
                "description": GROUPING_TEXT,
            },
            "pattern": {"type": "string", "maxLength": MAX_PATTERN_LENGTH, "description": PATTERN_TEXT},
        },
        optional=("label", "grouping", "pattern"),
    ),
    "FinishedPage": _object(
        {
            "studies": _list(_ref("StudySummary")),
            "next_cursor": _text("Empty as long as nothing was finished."),
            "next": _text("The address to come to again."),
            "more": {"type": "boolean"},
        }
    ),
    "History": _object({"events": _list(_object({"at": _MOMENT, "what": _text(), "detail": _text()}))}),
    "NewSearch": _object(
        {
            "q": {
                "type": "string",
                "maxLength": 200,
                "description": "Each word must begin a word of the label, of a file name, or of the study's id.",
            }
        }
    ),
    "Search": _object({"search": _text(), "studies_url": _text(), "csv_url": _text()}),
    "NewVerdict": _object(
        {
            "agreement": _AGREEMENT,
            "assessment": _maybe(_ASSESSMENT),
            "region": _maybe({"type": "string", "maxLength": 32}),
            "reader": {"type": "string", "maxLength": 100},
            "comment": {"type": "string", "maxLength": 2000},
        },
        optional=("assessment", "region", "reader", "comment"),
    ),
    "Verdict": _object(
        {
            "at": _MOMENT,
            "reader": _text(),
            "agreement": _AGREEMENT,
            "assessment": _maybe(_ASSESSMENT),
            "region": _maybe(_text()),
            "comment": _text(),
        }
    ),
    "Verdicts": _object({"verdicts": _list(_ref("Verdict"))}),
    "Deliveries": _object(
        {
            "deliveries": _list(
                _object(
                    {
                        "delivery_id": _text(),
                        "channel": {"type": "string", "enum": [channel.value for channel in Channel]},
                        "destination": _text("Name of the destination; empty for the webhook."),
                        "study_id": _ID,
                        "state": {"type": "string", "enum": ["open", "given_up"]},
                        "attempts": _COUNT,
                        "created_at": _MOMENT,
                        "due_at": _MOMENT,
                        "last_error": _text(),
                        "objects": _list(
                            _object(
                                {
                                    "name": _text("Name of the DICOM object: sr, pdf, overlay-1 …"),
                                    "state": {"type": "string", "enum": [state.value for state in ObjectState]},
                                    "detail": _text("The status or reason of the destination."),
                                }
                            )
                        ),
                    }
                )
            )
        }
    ),
    "DeliveryRetried": _object({"delivery_id": _text()}),
}
