"""OpenAPI of what comes after the work: results since a cursor, exports, history, verdicts, deliveries."""

from __future__ import annotations

from typing import Any

from fractureai.web.openapi_parts import (
    BATCH_ID,
    FILTERS,
    ID,
    LIMIT,
    STUDY_ID,
    WAIT,
    bytes_answer,
    json_answer,
    path_parameter,
    problems,
    query_parameter,
    ref,
)


def _export(operation: str, summary: str, media_type: str) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "description": "Streamed. A connection that is cut means that the file is not whole.",
            "parameters": [BATCH_ID],
            "responses": {"200": bytes_answer("The file.", media_type)} | problems(404, 503),
        }
    }


RESULTS: dict[str, Any] = {
    "/api/v1/results": {
        "get": {
            "operationId": "listResults",
            "summary": "Everything that became final since a cursor, in that order",
            "description": (
                "Keep `next_cursor` and come again with it as `after`: no study is ever skipped. One that was tried "
                "again comes again; after a loss of the database all come once more."
            ),
            "parameters": [
                query_parameter("after", {"type": "string"}, "`next_cursor` of the time before; none for all."),
                LIMIT,
                WAIT,
            ],
            "responses": {"200": json_answer("What was finished.", "FinishedPage")} | problems(400, 503),
        }
    },
    "/api/v1/studies.csv": {
        "get": {
            "operationId": "exportStudies",
            "summary": "The worklist as a table",
            "parameters": [query_parameter("batch_id", ID, "Only studies of this batch."), *FILTERS],
            "responses": {"200": bytes_answer("The table.", "text/csv")} | problems(400, 503),
        }
    },
    "/api/v1/batches/{batch_id}/results.csv": _export(
        "exportBatchTable", "The studies of a batch as a table", "text/csv"
    ),
    "/api/v1/batches/{batch_id}/results.ndjson": _export(
        "exportBatchResults", "The studies of a batch with results, one JSON object a line", "application/x-ndjson"
    ),
    "/api/v1/batches/{batch_id}/reports.zip": _export(
        "exportBatchReports", "All reports of a batch, with the table of its studies", "application/zip"
    ),
    "/api/v1/studies/{study_id}/history": {
        "get": {
            "operationId": "getHistory",
            "summary": "What was done when",
            "parameters": [STUDY_ID],
            "responses": {"200": json_answer("Events, oldest first.", "History")} | problems(404, 503),
        }
    },
    "/api/v1/studies/{study_id}/verdicts": {
        "get": {
            "operationId": "listVerdicts",
            "summary": "What readers said of a study",
            "parameters": [STUDY_ID],
            "responses": {"200": json_answer("Verdicts, oldest first.", "Verdicts")} | problems(404, 503),
        },
        "post": {
            "operationId": "addVerdict",
            "summary": "A reader's own word on a study",
            "parameters": [STUDY_ID],
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("NewVerdict")}}},
            "responses": {"201": json_answer("Kept.", "Verdict")} | problems(400, 403, 404, 415, 503),
        },
    },
    "/api/v1/deliveries": {
        "get": {
            "operationId": "listDeliveries",
            "summary": "News of finished studies that the receiver has not taken",
            "responses": {"200": json_answer("At most 200, the newest first.", "Deliveries")} | problems(503),
        }
    },
    "/api/v1/deliveries/{delivery_id}/retry": {
        "post": {
            "operationId": "retryDelivery",
            "summary": "Try to deliver again what was given up",
            "parameters": [
                path_parameter("delivery_id", {"type": "string", "pattern": "^[0-9a-f]{32}-[0-9]+(-[a-z0-9-]{1,24})?$"})
            ],
            "responses": {"202": json_answer("It will be tried.", "DeliveryRetried")} | problems(403, 404, 409, 503),
        }
    },
}
