"""What the OpenAPI document is put together from."""

from __future__ import annotations

from typing import Any

from fractureai.domain.name_pattern import HELP, MAX_LENGTH
from fractureai.domain.records import WorklistOrder
from fractureai.domain.study import Assessment, Grouping, WorkState
from fractureai.web.parameters import MAX_WAIT_S
from fractureai.web.search_words import MAX_SEALED_LENGTH

ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
BINARY: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
MAX_PATTERN_LENGTH = MAX_LENGTH
GROUPING_TEXT = (
    "What makes a study: each file, each folder, what file names share by `pattern`, or all of it. DICOM files of one "
    "examination come together in any case."
)
PATTERN_TEXT = f"With the grouping `pattern`. {HELP}"
_MOMENT = {"type": "string", "examples": ["2026-12-31", "2026-12-31T23:00:00Z"]}


def ref(name: str) -> dict[str, str]:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: str) -> dict[str, Any]:
    """Text that is one of some."""
    return {"type": "string", "enum": [str(value) for value in values]}


def json_answer(description: str, schema: str) -> dict[str, Any]:
    """An answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def bytes_answer(description: str, *media_types: str) -> dict[str, Any]:
    """An answer that is a file."""
    return {"description": description, "content": {media_type: {} for media_type in media_types}}


def path_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A part of the address."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def query_parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """A part of the query."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def problems(*statuses: int) -> dict[str, Any]:
    """The errors an operation may answer with."""
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


_PROBLEM_TEXTS = {
    400: "The request is malformed or a parameter is not valid.",
    401: "No key, none that is valid, and nobody signed in.",
    403: "The key or the person may not do this, or a page of another site sent it.",
    404: "Nothing there, or it belongs to another site.",
    409: "The state of the thing does not allow it.",
    413: "Too large, or too many files.",
    415: "Not a content type this address takes.",
    422: "Nothing to read, or an Idempotency-Key that came with another request.",
    429: "Too much open work, or too many requests; try again after Retry-After.",
    503: "Store or database is away; try again after Retry-After.",
    507: "The store is full; an operator has to make room.",
}
RESPONSES = {
    f"Problem{status}": {
        "description": text,
        "content": {"application/problem+json": {"schema": ref("Problem")}},
    }
    for status, text in _PROBLEM_TEXTS.items()
}

_ACCEPTED_HEADERS = {
    "Location": {"schema": {"type": "string"}, "description": "The status address."},
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before asking there."},
}
_STATUS_HEADERS = {
    "ETag": {"schema": {"type": "string"}, "description": "Send it as If-None-Match when asking again."},
    "Retry-After": {"schema": {"type": "integer"}, "description": "While open: seconds to wait before asking again."},
}
AT_THE_STORE = {
    "302": {
        "description": "With `store.direct_download_s`: at this address of the store, for so many seconds.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Good for this one file only."}},
    }
}
"""Beside a file's own answer."""

_NOT_MODIFIED = {"304": {"description": "Nothing new since the entity tag in If-None-Match."}}
IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
STUDY_ID, BATCH_ID = path_parameter("study_id", ID), path_parameter("batch_id", ID)
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "The same key with the same request is done once, and answered the same for 24 hours.",
}
FILE_NAME = {
    "name": "Content-Disposition",
    "in": "header",
    "schema": {"type": "string"},
    "description": "What the sender calls the file (RFC 6266, 8187).",
    "example": "attachment; filename*=UTF-8''series%2F1.dcm",
}
UPLOAD_TOKEN = {"name": "Upload-Token", "in": "header", "required": True, "schema": {"type": "string"}}
WAIT = query_parameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
    "Seconds the answer may wait for news: a final state or, with If-None-Match, any change. Only some requests may "
    "wait at a time; others are answered at once.",
)
LIMIT = query_parameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "Studies a page.")
FILTERS = [
    query_parameter("state", one_of(*WorkState), "Only studies in this state."),
    query_parameter("assessment", one_of(*Assessment), "Only with this assessment."),
    query_parameter("region", {"type": "string", "maxLength": 32}, "Only of this region."),
    query_parameter("from", _MOMENT, "Accepted from then on: a date or a moment, UTC unless it says otherwise."),
    query_parameter("to", _MOMENT, "Accepted before then; a date alone is included."),
    query_parameter(
        "search",
        {"type": "string", "maxLength": MAX_SEALED_LENGTH},
        "Words, as `POST /api/v1/searches` seals them. They have no place in an address, for addresses end in logs.",
    ),
    query_parameter("order", one_of(*WorklistOrder), "`newest` unless given."),
]
PAGING = [query_parameter("cursor", {"type": "string"}, "From `next_cursor` of the page before."), LIMIT]


def form(field: str, what: str, *, sorted_by: bool = False) -> dict[str, Any]:
    """A form with files; ``sorted_by``: the sender may say what makes a study of them."""
    properties = {
        field: {"type": "array", "items": BINARY, "minItems": 1, "description": what},
        "label": {"type": "string", "maxLength": 200, "description": "A name of yours, shown on pages and reports."},
    }
    if sorted_by:
        properties["grouping"] = {**one_of(*Grouping), "description": GROUPING_TEXT}
        properties["pattern"] = {"type": "string", "maxLength": MAX_PATTERN_LENGTH, "description": PATTERN_TEXT}
    schema = {"type": "object", "required": [field], "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def accepted(schema: str) -> dict[str, Any]:
    """202 with where to ask."""
    return {"202": {**json_answer("Accepted, and safe from now on.", schema), "headers": _ACCEPTED_HEADERS}}


def status(schema: str) -> dict[str, Any]:
    """Where something stands, for polling."""
    return {"200": {**json_answer("Where it stands.", schema), "headers": _STATUS_HEADERS}, **_NOT_MODIFIED}
