"""Every address of the service: what it takes to come in, and what the audit writes. The one place that says so.

An address that is not here opens to administrators only, and a test fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fractureai.domain.access import Scope
from fractureai.domain.audit import Act


@dataclass(frozen=True, slots=True)
class Door:
    """One address.

    Attributes
    ----------
    scope:
        What somebody must hold; ``None``: everybody comes in, and there is nothing of anybody behind it.
    act:
        What the audit writes when it was answered with success; ``None``: nothing.
    everywhere:
        Behind it stands something of the whole installation: only administrators of the installation's own site come
        in.
    """

    scope: Scope | None
    act: Act | None = None
    everywhere: bool = False


_PUBLIC = Door(None)
_LOOK, _TAKE, _ASK = (Door(Scope.READ, act) for act in (Act.VIEW, Act.DOWNLOAD, Act.QUERY))
_SEND, _SAY, _AGAIN = (Door(Scope.SUBMIT, act) for act in (Act.INTAKE, Act.VERDICT, Act.RETRY))
_READ, _PART = Door(Scope.READ), Door(Scope.SUBMIT)
UNKNOWN = Door(Scope.ADMIN)

DOORS: Mapping[str, Door] = {
    "static": _PUBLIC,
    "health.healthz": _PUBLIC,
    "health.readyz": _PUBLIC,
    # Guarded by a list of networks of its own (``observing``); no study, label or site is in it.
    "metrics": _PUBLIC,
    "sign_in.show": _PUBLIC,
    "sign_in.by_password": _PUBLIC,
    "sign_in.at_provider": _PUBLIC,
    "sign_in.returned": _PUBLIC,
    "sign_in.out": _PUBLIC,
    "pages.home": _PUBLIC,
    "pages.features": _PUBLIC,
    "pages.faq": _PUBLIC,
    "pages.models": _READ,
    "pages.predict": _PART,
    "pages.predict_study": _SEND,
    "pages.predict_batch": _SEND,
    "pages.study": _LOOK,
    "pages.retry": _AGAIN,
    "pages.verdict": _SAY,
    "pages.batch": _LOOK,
    "pages.retry_batch": _AGAIN,
    "pages.worklist": _ASK,
    "pages.search": _READ,
    "pages.deliveries": Door(Scope.ADMIN),
    "pages.retry_delivery": Door(Scope.ADMIN, Act.RETRY),
    "api.openapi": _PUBLIC,
    "api.models": _READ,
    "api.create_study": _SEND,
    "api.create_batch": _SEND,
    "api.studies": _ASK,
    "api.search": _READ,
    "api.study": _LOOK,
    "api.retry": _AGAIN,
    "api.report": _TAKE,
    "api.result": _TAKE,
    "api.study_fhir": _TAKE,
    "dicomweb.store": _SEND,
    "api.dicom_object": _TAKE,
    "api.dicom_zip": _TAKE,
    "api.picture": _LOOK,
    "api.history": _LOOK,
    "api.verdicts": _LOOK,
    "api.add_verdict": _SAY,
    "api.batch": _LOOK,
    "api.batch_studies": _ASK,
    "api.retry_batch": _AGAIN,
    "api.batch_results_csv": _TAKE,
    "api.batch_results_ndjson": _TAKE,
    "api.batch_reports_zip": _TAKE,
    "api.studies_csv": _TAKE,
    "api.results": _ASK,
    "api.begin_upload": _PART,
    "api.upload": _PART,
    "api.upload_file": _PART,
    "api.complete_upload": _SEND,
    "api.deliveries": Door(Scope.ADMIN),
    "api.retry_delivery": Door(Scope.ADMIN, Act.RETRY),
}


def door_of(endpoint: str) -> Door:
    """The door of an endpoint."""
    return DOORS.get(endpoint, UNKNOWN)
