"""OpenAPI of uploads that are sent file by file."""

from __future__ import annotations

from typing import Any

from fractureai.web.openapi_parts import (
    BATCH_ID,
    BINARY,
    FILE_NAME,
    UPLOAD_TOKEN,
    accepted,
    json_answer,
    path_parameter,
    problems,
    ref,
)

UPLOADS: dict[str, Any] = {
    "/api/v1/uploads": {
        "post": {
            "operationId": "beginUpload",
            "summary": "Begin a batch that is sent file by file",
            "responses": {"201": json_answer("Begun.", "Upload")} | problems(403, 429, 503),
        }
    },
    "/api/v1/uploads/{batch_id}": {
        "get": {
            "operationId": "getUpload",
            "summary": "Which files have arrived, to go on after an interruption",
            "parameters": [BATCH_ID, UPLOAD_TOKEN],
            "responses": {"200": json_answer("What has arrived.", "UploadState")} | problems(404, 503),
        }
    },
    "/api/v1/uploads/{batch_id}/files/{number}": {
        "put": {
            "operationId": "uploadFile",
            "summary": "Send one file; sending it again replaces it",
            "parameters": [
                BATCH_ID,
                path_parameter("number", {"type": "integer", "minimum": 1}),
                FILE_NAME,
                UPLOAD_TOKEN,
            ],
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": BINARY}}},
            "responses": {"200": json_answer("It arrived.", "Receipt")} | problems(400, 403, 404, 409, 413, 503, 507),
        }
    },
    "/api/v1/uploads/{batch_id}/complete": {
        "post": {
            "operationId": "completeUpload",
            "summary": "Accept the files whose receipts are given as a batch",
            "parameters": [BATCH_ID],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ref("Completion")}},
            },
            "responses": accepted("BatchAccepted") | problems(400, 403, 404, 409, 413, 415, 422, 503, 507),
        }
    },
}
