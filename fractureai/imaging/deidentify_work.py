"""De-identifying in the decoding child. The key never comes here: the parent makes the pseudonyms.

``identify`` tells what a file says whose it is; ``deidentify`` makes the file without that and keeps it; ``read`` hands
it out in pieces, so that the parent never holds it whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fractureai.imaging import deidentify
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.reader import contents

PIECE_BYTES = 512 * 1024

_made = b""


def answer(request: dict[str, Any], limits: DecodeLimits) -> tuple[dict[str, Any], memoryview | None]:
    """One request, one answer, as the child's protocol has it. Raises ``RejectedInput``."""
    global _made
    if request["op"] == "read":
        piece = memoryview(_made)[int(request["at"]) :][:PIECE_BYTES]
        return {"ok": "piece", "shape": [1, len(piece)]}, piece
    _made = b""
    data = contents(Path(request["path"]), limits.max_bytes)
    if request["op"] == "identify":
        found = deidentify.identifiers(data, limits)
        return {
            "ok": "identifiers",
            "patient_id": found.patient_id,
            "patient_name": found.patient_name,
            "patient_birth_date": found.patient_birth_date,
            "accession_number": found.accession_number,
            "study_instance_uid": found.study_instance_uid,
            "uids": found.uids,
        }, None
    _made = deidentify.deidentified(data, deidentify.Replacements(**request["replacements"]), limits)
    return {"ok": "made", "size": len(_made)}, None
