"""A reader's own word on a study, from the form of its page."""

from __future__ import annotations

from collections.abc import Mapping

from fractureai.domain.records import Agreement, Verdict
from fractureai.domain.study import Assessment
from fractureai.web.api_results import verdict_of

# What a form's fields take; the API's own limits are no lower.
MAX_READER_LENGTH = 80
MAX_COMMENT_LENGTH = 2000

AGREEMENTS: Mapping[Agreement, str] = {
    Agreement.AGREE: "I agree",
    Agreement.DISAGREE: "I disagree",
    Agreement.UNSURE: "I am not sure",
}
SAID: Mapping[Agreement, str] = {
    Agreement.AGREE: "agrees",
    Agreement.DISAGREE: "disagrees",
    Agreement.UNSURE: "is not sure",
}
READINGS: Mapping[Assessment, str] = {
    Assessment.FRACTURE: "Fracture",
    Assessment.SUSPECTED: "Fracture suspected",
    Assessment.NO_FRACTURE: "No fracture",
    Assessment.INCONCLUSIVE: "Cannot be assessed",
}
OTHER_REGION = "other"

_OWN = ("assessment", "region")


def verdict_from(form: Mapping[str, str], study_id: str) -> Verdict:
    """Read the form; who agrees has nothing to put in its place.

    Raises
    ------
    Problem
        ``bad_parameter`` if it says nothing, or something that cannot be said.
    """
    agrees = form.get("agreement") == Agreement.AGREE
    # Browsers end lines with two letters and count one.
    said = {name: text.replace("\r\n", "\n") for name, text in form.items() if not (agrees and name in _OWN)}
    return verdict_of(study_id, said)
