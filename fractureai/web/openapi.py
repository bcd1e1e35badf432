"""The API as an OpenAPI 3.1 document, written by hand so that it says what is meant, not what happens to be."""

from __future__ import annotations

from typing import Any

from fractureai.domain.study import Assessment, Stage
from fractureai.stages.fhir import Attach
from fractureai.web.openapi_parts import (
    AT_THE_STORE,
    BATCH_ID,
    FILTERS,
    ID,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    PAGING,
    RESPONSES,
    STUDY_ID,
    WAIT,
    accepted,
    bytes_answer,
    form,
    json_answer,
    one_of,
    path_parameter,
    problems,
    query_parameter,
    ref,
    status,
)
from fractureai.web.openapi_results import RESULTS
from fractureai.web.openapi_schemas import SCHEMAS
from fractureai.web.openapi_security import SCHEMES, Scopes, guarded
from fractureai.web.openapi_uploads import UPLOADS


def document(version: str, scopes: Scopes | None = None) -> dict[str, Any]:
    """The whole document; ``scopes`` where the service asks who comes."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FractureAI",
            "version": version,
            "summary": "Limb radiographs in, fracture assessments and reports out.",
            "description": (
                "Send files, get 202 with a status address, ask there until the work is final, or come by now and then "
                "for everything that was finished since. "
                "Every error is a problem details object (RFC 9457) whose `code` is stable. "
                f"Assessments are {', '.join(Assessment)}; stages are {', '.join(Stage)}. Not for diagnostic use."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": guarded(_STUDIES_AND_BATCHES | UPLOADS | RESULTS, scopes),
        "components": {"schemas": SCHEMAS, "responses": RESPONSES, "securitySchemes": SCHEMES},
    }


_STUDIES_AND_BATCHES: dict[str, Any] = {
    "/api/v1/studies": {
        "post": {
            "operationId": "createStudy",
            "summary": "Send the views of one study",
            "parameters": [IDEMPOTENCY_KEY],
            "requestBody": form("images", "DICOM, PNG, JPEG, TIFF or WebP files: the views of one study."),
            "responses": accepted("StudyAccepted") | problems(400, 403, 413, 415, 422, 429, 503, 507),
        },
        "get": {
            "operationId": "listStudies",
            "summary": "The worklist",
            "parameters": [query_parameter("batch_id", ID, "Only studies of this batch."), *FILTERS, *PAGING],
            "responses": {"200": json_answer("A page.", "StudyPage")} | problems(400, 503),
        },
    },
    "/api/v1/searches": {
        "post": {
            "operationId": "sealSearch",
            "summary": "Seal words, so that they can stand in the address of a list",
            "description": "Nothing is kept. Good at this site, for as long as the service keeps its secret.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("NewSearch")}}},
            "responses": {"200": json_answer("Sealed.", "Search")} | problems(400, 415),
        }
    },
    "/api/v1/studies/{study_id}": {
        "get": {
            "operationId": "getStudy",
            "summary": "Where a study stands and, when final, what was found",
            "parameters": [STUDY_ID, WAIT, IF_NONE_MATCH],
            "responses": status("Study") | problems(400, 404, 503),
        }
    },
    "/api/v1/studies/{study_id}/retry": {
        "post": {
            "operationId": "retryStudy",
            "summary": "Try a failed study again",
            "parameters": [STUDY_ID],
            "responses": accepted("StudySummary") | problems(403, 404, 409, 503),
        }
    },
    "/api/v1/studies/{study_id}/report.pdf": {
        "get": {
            "operationId": "getReport",
            "summary": "The report",
            "parameters": [STUDY_ID],
            "responses": {"200": bytes_answer("The report.", "application/pdf")} | AT_THE_STORE | problems(404, 503),
        }
    },
    "/api/v1/studies/{study_id}/result.json": {
        "get": {
            "operationId": "getResult",
            "summary": "The result as it lies in the store",
            "parameters": [STUDY_ID],
            "responses": {"200": json_answer("The result.", "Result")} | AT_THE_STORE | problems(404, 503),
        }
    },
    "/api/v1/studies/{study_id}/fhir": {
        "get": {
            "operationId": "getFhir",
            "summary": "The result as a FHIR R4 DiagnosticReport, status preliminary",
            "parameters": [
                STUDY_ID,
                query_parameter("pdf", one_of(*Attach), "The report: its bytes (as always), its address, or neither."),
            ],
            "responses": {
                "200": {
                    "description": "The DiagnosticReport.",
                    "content": {"application/fhir+json": {"schema": {"type": "object"}}},
                }
            }
            | problems(400, 404, 503),
        }
    },
    "/api/v1/studies/{study_id}/dicom/{name}.dcm": {
        "get": {
            "operationId": "getDicomObject",
            "summary": "One DICOM result",
            "description": "In the study its images came in. `result.dicom_objects` lists those there are.",
            "parameters": [
                STUDY_ID,
                path_parameter(
                    "name", {"type": "string", "pattern": "^(sr|summary|pdf|(overlay|gsps)-[1-9][0-9]{0,4})$"}
                ),
            ],
            "responses": {"200": bytes_answer("The object, PS3.10.", "application/dicom")}
            | AT_THE_STORE
            | problems(404, 503),
        }
    },
    "/api/v1/studies/{study_id}/dicom.zip": {
        "get": {
            "operationId": "getDicomObjects",
            "summary": "All DICOM results of a study",
            "description": "Streamed. A connection that is cut means that the file is not whole.",
            "parameters": [STUDY_ID],
            "responses": {"200": bytes_answer("The objects.", "application/zip")} | problems(404, 503),
        }
    },
    "/api/v1/studies/{study_id}/images/{number}/{picture}": {
        "get": {
            "operationId": "getPicture",
            "summary": "A picture of one image",
            "parameters": [
                STUDY_ID,
                path_parameter("number", {"type": "integer", "minimum": 1, "maximum": 99999}),
                path_parameter(
                    "picture", {"type": "string", "enum": ["image.png", "heat.png", "overlay.jpg", "roi.png"]}
                ),
            ],
            "responses": {"200": bytes_answer("The picture.", "image/png", "image/jpeg")} | problems(404, 503),
        }
    },
    "/api/v1/batches": {
        "post": {
            "operationId": "createBatch",
            "summary": "Send files and ZIP archives of many studies",
            "description": "DICOM files come together by StudyInstanceUID; of other files, `grouping` says it.",
            "parameters": [IDEMPOTENCY_KEY],
            "requestBody": form("files", "Images and ZIP archives of them.", sorted_by=True),
            "responses": accepted("BatchAccepted") | problems(400, 403, 413, 415, 422, 429, 503, 507),
        }
    },
    "/api/v1/batches/{batch_id}": {
        "get": {
            "operationId": "getBatch",
            "summary": "Where a batch stands",
            "parameters": [BATCH_ID, WAIT, IF_NONE_MATCH],
            "responses": status("Batch") | problems(400, 404, 503),
        }
    },
    "/api/v1/batches/{batch_id}/studies": {
        "get": {
            "operationId": "listBatchStudies",
            "summary": "The studies of a batch",
            "parameters": [BATCH_ID, *FILTERS, *PAGING],
            "responses": {"200": json_answer("A page.", "StudyPage")} | problems(400, 404, 503),
        }
    },
    "/api/v1/batches/{batch_id}/retry": {
        "post": {
            "operationId": "retryBatch",
            "summary": "Try everything of a batch that failed again",
            "parameters": [BATCH_ID],
            "responses": accepted("BatchRetried") | problems(403, 404, 409, 503),
        }
    },
    "/api/v1/models": {
        "get": {
            "operationId": "listModels",
            "summary": "Every model card",
            "responses": {"200": json_answer("The cards.", "Models")},
        }
    },
}
