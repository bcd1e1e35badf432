"""UIDs that follow from what went in: the same files, models and software give the same objects.

They are integers of name-based UUIDs under 2.25 (PS3.5 section B.2), made with SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import uuid

from fractureai.domain.reasons import AMBIGUOUS_UIDS
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Study

IMPLEMENTATION_UID = "2.25.329800735698586629295641978511506172918"


def uid(*names: str | int | None) -> str:
    """The UID of a list of names."""
    digest = hashlib.sha256(json.dumps(["fractureai", *names]).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def basis_of(study: Study, result: StudyResult) -> str:
    """What tells the results of a study apart from all others, as 64 hex digits."""
    files = [image.sha256 for image in study.images]
    models = sorted([model.name, model.version, model.card_sha256] for model in result.models)
    # What other studies hold may change what is written of the same files.
    said = [
        [image.number, reason.code, reason.detail]
        for image in result.images
        for reason in image.finding.reasons
        if reason.code in AMBIGUOUS_UIDS
    ]
    return hashlib.sha256(json.dumps([files, models, result.software_version, said]).encode()).hexdigest()
