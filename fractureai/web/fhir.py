"""The result of a study as FHIR."""

from __future__ import annotations

from flask import Response, json

from fractureai.stages import fhir
from fractureai.web import parameters
from fractureai.web.api_blueprint import bp
from fractureai.web.context import link, site, web
from fractureai.web.problems import Problem

MEDIA_TYPE = "application/fhir+json"


@bp.get("/studies/<id:study_id>/fhir")
def study_fhir(study_id: str) -> Response:
    """The result as a FHIR R4 DiagnosticReport."""
    attach = parameters.choice("pdf", fhir.Attach) or fhir.Attach.DATA
    ports = web().ports
    row = ports.ledger.study(study_id, site=site())
    if row is None or ports.fhir is None:
        raise Problem("not_found")
    found = fhir.document(row, ports.store, ports.fhir, attach, link("api.report", study_id=study_id))
    if found is None:
        raise Problem("not_there_yet")
    return Response(json.dumps(found), mimetype=MEDIA_TYPE)
