"""post_fhir: a finished study to a FHIR server, whole in one resource."""

from __future__ import annotations

from fractureai.domain.records import Delivery, StudyRow
from fractureai.errors import TransientFailure
from fractureai.stages import fhir
from fractureai.stages.notify import LINKS
from fractureai.stages.ports import StagePorts


def deliver(_delivery: Delivery, row: StudyRow, ports: StagePorts) -> None:
    """Post it; again, it takes the place of what was posted before.

    Raises
    ------
    TransientFailure
        The server is away, or did not take it; the detail says so.
    RejectedInput
        It never will.
    """
    pdf_url = ports.policy.public_base_url + LINKS["report"].format(study_id=row.study_id)
    found = fhir.document(row, ports.store, ports.fhir, fhir.Attach(ports.fhir_sender.attach), pdf_url)
    if found is None:
        raise TransientFailure("artifact_missing", "the study has no result in the store")
    ports.fhir_sender.put(found)
